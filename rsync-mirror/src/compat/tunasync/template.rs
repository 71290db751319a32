//! Texts with fields in them, such as `/var/log/{{.Name}}`: the part of Go's templates that configurations use.

/// A text with fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

/// A template that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// More than a field between the braces.
    #[error("{{{{{0}}}}} is not supported; a template holds text and fields such as {{{{.Name}}}}")]
    Unsupported(String),
    /// Braces that do not end.
    #[error("\"{{{{\" has no \"}}}}\"")]
    Open,
    /// A field that is not there.
    #[error("there is no field {{{{.{name}}}}}; there are {known}")]
    Unknown {
        /// Its name.
        name: String,
        /// Those that are there.
        known: String,
    },
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// [`TemplateError`] for anything but text and fields.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, behind)) = rest.split_once("{{") {
            let (inner, after) = behind.split_once("}}").ok_or(TemplateError::Open)?;
            let field = inner.trim().strip_prefix('.').filter(|name| {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            });
            let field = field.ok_or_else(|| TemplateError::Unsupported(inner.to_owned()))?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Field(field.to_owned()));
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// The text with the values of `fields` in it.
    ///
    /// # Errors
    /// [`TemplateError::Unknown`] for a field that is not among them.
    pub fn render(&self, fields: &[(&str, String)]) -> Result<String, TemplateError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Field(name) => match fields.iter().find(|(known, _)| known == name) {
                    Some((_, value)) => text.push_str(value),
                    None => {
                        let known: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
                        return Err(TemplateError::Unknown { name: name.clone(), known: known.join(", ") });
                    }
                },
            }
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_in() {
        let render = |text| Template::parse(text).and_then(|it| it.render(&[("Name", "debian".to_owned())]));
        assert_eq!(render("/log/{{.Name}}/{{ .Name }}.x").unwrap(), "/log/debian/debian.x");
        assert_eq!(render("plain").unwrap(), "plain");
        assert_eq!(
            render("{{.Nmae}}").unwrap_err().to_string(),
            "there is no field {{.Nmae}}; there are Name"
        );
        assert_eq!(
            render("{{if .Name}}").map_err(|error| error.to_string()).unwrap_err().split(';').next(),
            Some("{{if .Name}} is not supported")
        );
        assert_eq!(render("{{.Name"), Err(TemplateError::Open));
    }
}
