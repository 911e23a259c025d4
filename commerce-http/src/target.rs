//! The target of a request, brought to the one form that routes are looked up by.

use std::borrow::Cow;

/// Path and query of a target. The absolute form that proxies use (`http://host/path`) loses its beginning: there
/// is one service here, whatever it is called.
pub(crate) fn split(target: &str) -> (&str, &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some((scheme, rest)) = path.split_once("://") else { return (path, query) };
    if !is_absolute(scheme) {
        return (path, query);
    }
    (rest.find('/').map_or("/", |slash| &rest[slash..]), query)
}

/// Whether a target has that form with a scheme of HTTP.
pub(crate) fn is_absolute(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// A path with those characters decoded that need no encoding (RFC 3986, 6.2.2.2): `/%70roducts` is `/products`.
/// Others stay as they are, so that an encoded slash never becomes one.
pub(crate) fn normal(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut parts = path.split('%');
    let mut normal = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        match byte.filter(plain) {
            Some(byte) => normal.extend([char::from(byte)].into_iter().chain(part.chars().skip(2))),
            None => normal.extend(['%'].into_iter().chain(part.chars())),
        }
    }
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("/v1/products?limit=1", "/v1/products", "limit=1")]
    #[case("http://shop.example/v1/products?limit=1", "/v1/products", "limit=1")]
    #[case("HTTPS://shop.example:8443/v1", "/v1", "")]
    #[case("http://shop.example", "/", "")]
    #[case("http://shop.example?a=b", "/", "a=b")]
    #[case("/v1/products?at=http://a/b", "/v1/products", "at=http://a/b")]
    #[case("ftp://shop.example/v1", "ftp://shop.example/v1", "")]
    #[case("*", "*", "")]
    fn targets(#[case] target: &str, #[case] path: &str, #[case] query: &str) {
        assert_eq!(split(target), (path, query));
    }

    #[rstest]
    #[case("/v1/%70roducts", "/v1/products")]
    #[case("/%76%31/products%2f1", "/v1/products%2f1")]
    #[case("/%7Ea%2Db", "/~a-b")]
    #[case("/%", "/%")]
    #[case("/%7", "/%7")]
    #[case("/%+7", "/%+7")]
    #[case("/%zz%C3%A9", "/%zz%C3%A9")]
    fn paths(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(normal(path), expected);
    }
}
