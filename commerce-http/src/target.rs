//! Request targets, normalized for routing.

use std::borrow::Cow;

/// Splits a target into path and query. Scheme and host of the absolute form of proxies (`http://host/path`) are
/// dropped, because the server has no virtual hosts.
pub(crate) fn split(target: &str) -> (&str, &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Some((scheme, rest)) = path.split_once("://") else { return (path, query) };
    if !is_absolute(scheme) {
        return (path, query);
    }
    (rest.find('/').map_or("/", |slash| &rest[slash..]), query)
}

/// Returns true if a target is in absolute form with an HTTP scheme.
pub(crate) fn is_absolute(target: &str) -> bool {
    let scheme = target.split(':').next().unwrap_or_default();
    scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
}

/// Decodes the characters of a path that need no encoding (RFC 3986, 6.2.2.2): `/%70roducts` is `/products`.
/// Others are unchanged, so that an encoded slash stays encoded.
pub(crate) fn normalize(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut parts = path.split('%');
    let mut path = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.get(..2).filter(|code| code.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let byte = code.and_then(|code| u8::from_str_radix(code, 16).ok());
        let is_unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        match byte.filter(is_unreserved) {
            Some(byte) => path.extend([char::from(byte)].into_iter().chain(part.chars().skip(2))),
            None => path.extend(['%'].into_iter().chain(part.chars())),
        }
    }
    Cow::Owned(path)
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
    fn target_splits_into_path_and_query(
        #[case] target: &str,
        #[case] path: &str,
        #[case] query: &str,
    ) {
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
    fn path_decodes_unreserved_characters_only(#[case] path: &str, #[case] expected: &str) {
        assert_eq!(normalize(path), expected);
    }
}
