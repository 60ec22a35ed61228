//! Names of attributes (RFC 4512, 2.5).

/// Whether this is the name of one attribute, with or without options; `*` and `+` mean many.
#[must_use]
pub fn is_attribute(name: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let (base, options) = name.split_once(';').map_or((name, None), |(base, options)| (base, Some(options)));
    base.split('.').all(word) && options.is_none_or(|options| options.split(';').all(word))
}
