//! Pages of List calls (AIP-158): sizes, and opaque tokens. A token is sealed with a key of the
//! installation and bound to its query, so a client cannot read or forge it, or use it for another
//! tenant or query.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tonic::Status;

use super::status;

const TOKEN_VERSION: u8 = 2;
/// Items of a page where the caller names no size.
const DEFAULT_PAGE_ITEMS: usize = 50;
const MAX_PAGE_ITEMS: usize = 1_000;
/// Longer than any token that was ever given out.
const MAX_TOKEN_BYTES: usize = 2_000;

/// Seals page tokens; every replica has the same. Clones share the key.
#[derive(Clone)]
pub struct PageKey(std::sync::Arc<LessSafeKey>);

impl PageKey {
    /// Name of the key among the installation's secrets.
    pub const NAME: &'static str = "page tokens";

    /// Of a secret of the installation.
    ///
    /// # Errors
    /// If the library refuses it.
    pub fn new(secret: &[u8; 32]) -> Result<Self, aws_lc_rs::error::Unspecified> {
        UnboundKey::new(&AES_256_GCM_SIV, secret).map(|key| Self(std::sync::Arc::new(LessSafeKey::new(key))))
    }

    /// The same place of the same query has the same token, which is all that a fixed nonce tells
    /// of in this mode (RFC 8452).
    fn seal(&self, query: &[u8; 32], text: &str) -> String {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        match self.0.seal_in_place_append_tag(nonce, Aad::from(query), &mut sealed) {
            Ok(()) => URL_SAFE_NO_PAD.encode([&[TOKEN_VERSION][..], &sealed].concat()),
            // Only a text of gigabytes is refused.
            Err(_) => String::new(),
        }
    }

    fn open(&self, query: &[u8; 32], token: &str) -> Option<String> {
        if token.len() > MAX_TOKEN_BYTES {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let mut sealed = bytes.strip_prefix(&[TOKEN_VERSION])?.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let text = self.0.open_in_place(nonce, Aad::from(query), &mut sealed).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// The page that is asked for.
pub(in crate::api) struct Page {
    /// Most items.
    pub(in crate::api) size: usize,
    /// Where the page before ended.
    pub(in crate::api) after: Option<String>,
    key: PageKey,
    query: [u8; 32],
}

impl Page {
    /// Checks size and token. `query` has everything that the list depends on: which list it is,
    /// and of whom.
    pub(in crate::api) fn new(key: &PageKey, size: i32, token: &str, query: &[&str]) -> Result<Self, Status> {
        let size = match usize::try_from(size) {
            Ok(0) => DEFAULT_PAGE_ITEMS,
            Ok(size) => size.min(MAX_PAGE_ITEMS),
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
        let mut page = Self { size, after: None, key: key.clone(), query: *hasher.finalize().as_bytes() };
        if !token.is_empty() {
            page.after = Some(key.open(&page.query, token).ok_or_else(|| {
                let why = "must be the next_page_token of a call with the same arguments; leave it empty to begin anew";
                status::invalid(vec![("page_token".to_owned(), why.to_owned())])
            })?);
        }
        Ok(page)
    }

    /// How many items to fetch: one more tells whether there is a next page.
    pub(in crate::api) fn fetch_limit(&self) -> i64 {
        i64::try_from(self.size + 1).unwrap_or(i64::MAX)
    }

    /// Cuts what was fetched to the page, and makes the token of the next one from its last item.
    pub(in crate::api) fn cut<T>(&self, items: &mut Vec<T>, key: impl Fn(&T) -> String) -> String {
        if items.len() <= self.size {
            return String::new();
        }
        items.truncate(self.size);
        items.last().map_or_else(String::new, |last| self.key.seal(&self.query, &key(last)))
    }

    /// The key in the token, parsed.
    pub(in crate::api) fn after<T: std::str::FromStr>(&self) -> Option<T> {
        self.after.as_ref().and_then(|after| after.parse().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(secret: u8) -> PageKey {
        PageKey::new(&[secret; 32]).expect("a key")
    }

    fn after_two(key: &PageKey, query: &[&str]) -> String {
        let page = Page::new(key, 2, "", query).expect("a page");
        let mut items = vec![1, 2, 3];
        let token = page.cut(&mut items, ToString::to_string);
        assert_eq!(items, [1, 2]);
        token
    }

    #[test]
    fn a_token_leads_on_with_the_same_arguments_of_the_same_installation_only() {
        let key_1 = key(1);
        let token = after_two(&key_1, &["users", "tenants/acme"]);
        let next = Page::new(&key_1, 2, &token, &["users", "tenants/acme"]).expect("the next page");
        assert_eq!(next.after::<i64>(), Some(2));
        for (key, query) in [
            (&key_1, ["users", "tenants/globex"]),
            (&key_1, ["routers", "tenants/acme"]),
            (&key_1, ["userst", "enants/acme"]),
            (&key(2), ["users", "tenants/acme"]),
        ] {
            assert!(Page::new(key, 2, &token, &query).is_err(), "{query:?}");
        }
    }

    #[test]
    fn a_token_that_was_changed_anywhere_or_made_up_is_refused() {
        let key = key(1);
        let token = after_two(&key, &["users"]);
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Page::new(&key, 2, &URL_SAFE_NO_PAD.encode(changed), &["users"]).is_err(), "byte {at}");
            assert!(
                Page::new(&key, 2, &URL_SAFE_NO_PAD.encode(&bytes[..at]), &["users"]).is_err() || at == 0
            );
        }
        for made_up in ["made up", "Mg", &"A".repeat(5_000)] {
            assert!(Page::new(&key, 2, made_up, &["users"]).is_err());
        }
    }

    #[test]
    fn a_token_does_not_show_where_the_page_ended() {
        let token = after_two(&key(1), &["users"]);
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("base64");
        assert_eq!(bytes.len(), 1 + "2".len() + 16);
        assert_ne!(bytes[1], b'2');
        assert_ne!(token, after_two(&key(1), &["jobs"]), "not even that two lists ended at the same place");
    }

    #[test]
    fn sizes_have_a_default_and_a_maximum() {
        let size = |size| Page::new(&key(1), size, "", &[]).map(|page| page.size);
        assert_eq!(size(0).ok(), Some(50));
        assert_eq!(size(5_000).ok(), Some(1_000));
        assert!(size(-1).is_err());
    }
}
