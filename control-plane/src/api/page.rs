//! Pages (AIP-158): sizes, and opaque tokens that are bound to the query they belong to.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::Status;

use super::status;

const VERSION: u8 = 1;

/// The page that is asked for.
pub(super) struct Page {
    /// Most items.
    pub(super) size: usize,
    /// Where the page before ended.
    pub(super) after: Option<String>,
    query: [u8; 8],
}

impl Page {
    /// Checks size and token. `query` has everything that the list depends on.
    pub(super) fn new(size: i32, token: &str, query: &[&str]) -> Result<Self, Status> {
        let size = match usize::try_from(size) {
            Ok(0) => 50,
            Ok(size) => size.min(1_000),
            Err(_) => {
                return Err(status::invalid(vec![(
                    "page_size".to_owned(),
                    "must not be negative".to_owned(),
                )]));
            }
        };
        let mut hasher = blake3::Hasher::new();
        for argument in query {
            hasher.update(&(argument.len() as u64).to_le_bytes()).update(argument.as_bytes());
        }
        let mut hash = [0; 8];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let mut page = Self { size, after: None, query: hash };
        if !token.is_empty() {
            page.after = Some(page.decode(token).ok_or_else(|| {
                let why = "must be the next_page_token of a call with the same arguments; leave it empty to begin anew";
                status::invalid(vec![("page_token".to_owned(), why.to_owned())])
            })?);
        }
        Ok(page)
    }

    /// How many items to fetch: one more tells whether there is a next page.
    pub(super) fn fetch(&self) -> i64 {
        i64::try_from(self.size + 1).unwrap_or(i64::MAX)
    }

    /// Cuts what was fetched to the page, and makes the token of the next one from its last item.
    pub(super) fn cut<T>(&self, items: &mut Vec<T>, key: impl Fn(&T) -> String) -> String {
        if items.len() <= self.size {
            return String::new();
        }
        items.truncate(self.size);
        items.last().map_or_else(String::new, |last| {
            let mut token = vec![VERSION];
            token.extend_from_slice(&self.query);
            token.extend_from_slice(key(last).as_bytes());
            URL_SAFE_NO_PAD.encode(token)
        })
    }

    fn decode(&self, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let rest = bytes.strip_prefix(&[VERSION])?.strip_prefix(&self.query)?;
        String::from_utf8(rest.to_vec()).ok()
    }

    /// The key in the token, parsed.
    pub(super) fn after<T: std::str::FromStr>(&self) -> Option<T> {
        self.after.as_ref().and_then(|after| after.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_on_with_the_same_arguments_only() {
        let page = Page::new(2, "", &["tenants/acme"]).expect("a page");
        let mut items = vec![1, 2, 3];
        let token = page.cut(&mut items, ToString::to_string);
        assert_eq!(items, [1, 2]);
        let next = Page::new(2, &token, &["tenants/acme"]).expect("the next page");
        assert_eq!(next.after::<i64>(), Some(2));
        assert!(Page::new(2, &token, &["tenants/globex"]).is_err());
        assert!(Page::new(2, "made up", &["tenants/acme"]).is_err());
    }

    #[test]
    fn sizes_have_a_default_and_a_maximum() {
        assert_eq!(Page::new(0, "", &[]).map(|page| page.size).ok(), Some(50));
        assert_eq!(Page::new(5_000, "", &[]).map(|page| page.size).ok(), Some(1_000));
        assert!(Page::new(-1, "", &[]).is_err());
    }
}
