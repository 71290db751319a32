//! Names and texts as URLs and HTML show them.

/// A name as a part of a URL.
pub(crate) fn encode(name: &[u8]) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+@,".contains(&byte);
    name.iter()
        .map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// A path as a part of a URL.
pub(crate) fn encode_path(path: &[u8]) -> String {
    path.split(|&byte| byte == b'/').map(encode).collect::<Vec<_>>().join("/")
}

/// A text as HTML shows it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&#38;"),
            '<' => escaped.push_str("&#60;"),
            '>' => escaped.push_str("&#62;"),
            '"' => escaped.push_str("&#34;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
