//! Makes keys, their JWKS, and tokens: right ones, and any other.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents,
};
use aws_lc_rs::{encoding::AsDer, hmac};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_plane::api::middleware::tokens::{KeySet, Person, TokenRejected, TokenRules, claims};
use control_plane::model::Timestamp;
use serde_json::{Value, json};

/// The time of every test, in seconds.
pub(crate) const NOW: i64 = 1_900_000_000;
pub(crate) const ISSUER: &str = "https://login.example.com";
pub(crate) const CONSOLE: &str = "portal";

pub(crate) fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A key with its id.
pub(crate) enum Signer {
    Ed(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    P384(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub(crate) fn ed() -> Self {
        Self::Ed(Ed25519KeyPair::generate().expect("a key"))
    }

    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key"))
    }

    pub(crate) fn p384() -> Self {
        Self::P384(EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("a key"))
    }

    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"))
    }

    pub(crate) fn public(&self) -> Vec<u8> {
        match self {
            Self::Ed(key) => key.public_key().as_ref().to_vec(),
            Self::P256(key) | Self::P384(key) => key.public_key().as_ref().to_vec(),
            Self::Rsa(key) => key.public_key().as_ref().to_vec(),
        }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        match self {
            Self::Ed(key) => key.public_key().as_der().expect("DER").as_ref().to_vec(),
            Self::P256(key) | Self::P384(key) => key.public_key().as_der().expect("DER").as_ref().to_vec(),
            Self::Rsa(key) => key.public_key().as_der().expect("DER").as_ref().to_vec(),
        }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed(_) => "EdDSA",
            Self::P256(_) => "ES256",
            Self::P384(_) => "ES384",
            Self::Rsa(_) => "RS256",
        }
    }

    /// The public key as a JWK.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        let half = |bytes: &[u8], second: bool| {
            let (first, last) = bytes[1..].split_at((bytes.len() - 1) / 2);
            base64(if second { last } else { first })
        };
        let public = self.public();
        match self {
            Self::Ed(_) => json!({"kty": "OKP", "crv": "Ed25519", "x": base64(public), "kid": kid}),
            Self::P256(_) => {
                json!({"kty": "EC", "crv": "P-256", "x": half(&public, false), "y": half(&public, true), "kid": kid})
            }
            Self::P384(_) => {
                json!({"kty": "EC", "crv": "P-384", "x": half(&public, false), "y": half(&public, true), "kid": kid})
            }
            Self::Rsa(key) => {
                let parts = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({"kty": "RSA", "n": base64(parts.n), "e": base64(parts.e), "kid": kid})
            }
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ed(key) => key.sign(message).as_ref().to_vec(),
            Self::P256(key) | Self::P384(key) => {
                key.sign(&random, message).expect("a signature").as_ref().to_vec()
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect("a signature");
                signature
            }
        }
    }

    /// A token with this header and these claims, given as text.
    pub(crate) fn token(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", base64(header), base64(claims));
        format!("{signed}.{}", base64(self.sign(signed.as_bytes())))
    }

    /// The same with the header that belongs to the key.
    pub(crate) fn issue(&self, kid: &str, claims: &Value) -> String {
        self.token(&header(self.algorithm(), kid), &claims.to_string())
    }
}

pub(crate) fn header(algorithm: &str, kid: &str) -> String {
    json!({"alg": algorithm, "typ": "JWT", "kid": kid}).to_string()
}

/// A token that a secret authenticates.
pub(crate) fn with_secret(secret: &[u8], kid: &str, claims: &Value) -> String {
    let signed = format!("{}.{}", base64(header("HS256", kid)), base64(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", base64(tag))
}

/// What is asked of an issuer's tokens.
pub(crate) fn rules() -> TokenRules {
    TokenRules {
        issuer: ISSUER.to_owned(),
        audience: "rollcall".to_owned(),
        algorithms: [
            jsonwebtoken::Algorithm::EdDSA,
            jsonwebtoken::Algorithm::ES256,
            jsonwebtoken::Algorithm::RS256,
        ]
        .to_vec(),
        tenant_claim: "tenant".to_owned(),
        role_claim: "rollcall_role".to_owned(),
        consoles: vec![CONSOLE.to_owned()],
        tenants: None,
    }
}

/// Claims that name alice, a Super Admin of acme.
pub(crate) fn alice() -> Value {
    json!({
        "iss": ISSUER, "aud": "rollcall", "sub": "alice", "tenant": "acme", "rollcall_role": "SUPER_ADMIN",
        "iat": NOW, "nbf": NOW, "exp": NOW + 600,
    })
}

/// The same with one claim changed, or without it if that is null.
pub(crate) fn alice_with(name: &str, value: Value) -> Value {
    let mut claims = alice();
    let members = claims.as_object_mut().expect("an object");
    if value.is_null() {
        members.remove(name);
    } else {
        members.insert(name.to_owned(), value);
    }
    claims
}

pub(crate) fn jwks(keys: &[Value]) -> Vec<u8> {
    json!({"keys": keys}).to_string().into_bytes()
}

pub(crate) fn keys(keys: &[Value]) -> KeySet {
    KeySet::parse(&jwks(keys)).expect("keys")
}

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp(seconds * 1_000_000)
}

/// UserSelector a token names now.
pub(crate) fn check(rules: &TokenRules, keys: &KeySet, token: &str) -> Result<Person, TokenRejected> {
    claims::read(token)?.verify(rules, keys, CONSOLE, at(NOW))
}
