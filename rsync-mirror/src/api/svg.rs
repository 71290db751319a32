//! Plots of a job's runs, as SVG that needs nothing but the page's style sheet.

use std::fmt::Write as _;

use crate::markup::escape;

/// Width of a plot in its own units.
const WIDTH: usize = 720;
/// Its height.
const HEIGHT: usize = 96;
/// Room for the widest bar.
const WIDEST: usize = 24;

/// One bar.
pub(super) struct Bar {
    pub(super) value: u64,
    /// A class of the style sheet.
    pub(super) class: &'static str,
    /// What is said about it.
    pub(super) title: String,
}

/// Bars from left to right; `name` says what they are for those who cannot see them.
#[expect(clippy::cast_precision_loss, reason = "a plot has few dots")]
pub(super) fn bars(name: &str, bars: &[Bar]) -> String {
    let highest = bars.iter().map(|bar| bar.value).max().unwrap_or(0).max(1) as f64;
    let step = (WIDTH / bars.len().max(1)).min(WIDEST);
    let mut svg = format!(
        "<svg class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
        escape(name)
    );
    let left = WIDTH - step * bars.len();
    for (index, bar) in bars.iter().enumerate() {
        let share = bar.value as f64 / highest;
        let height = (share * (HEIGHT - 8) as f64).max(2.0);
        let (x, y) = (left + index * step, HEIGHT as f64 - height - 2.0);
        let width = step.saturating_sub(if step > 6 { 3 } else { 1 }).max(1);
        // Writing to a string does not fail.
        let _ = write!(
            svg,
            "<rect class=\"{}\" x=\"{x}\" y=\"{y:.1}\" width=\"{width}\" height=\"{height:.1}\" rx=\"2\">\
             <title>{}</title></rect>",
            bar.class,
            escape(&bar.title)
        );
    }
    let _ =
        write!(svg, "<line class=\"base\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{0}\" y2=\"{0}\"/></svg>", HEIGHT - 1);
    svg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_a_bar_for_each_run_and_says_nothing_as_markup() {
        let bar = |value| Bar { value, class: "good", title: "<b>".to_owned() };
        let svg = bars("a \"plot\"", &[bar(0), bar(5), bar(u64::MAX)]);
        assert_eq!(svg.matches("<rect").count(), 3);
        assert!(!svg.contains("<b>") && svg.contains("a &#34;plot&#34;"), "{svg}");
        assert!(bars("none", &[]).contains("</svg>"));
    }
}
