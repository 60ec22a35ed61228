//! Tokens that are refused, each for its own reason. Every one of them is right but for one thing.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use control_plane::api::middleware::tokens::TokenRejected::{self, *};
use serde_json::{Value, json};

use super::signer::{
    ISSUER, NOW, Signer, alice, alice_with, base64, check, header, keys, rules, with_secret,
};

const KID: &str = "k1";

fn missing(claim: &str) -> TokenRejected {
    Missing(claim.to_owned())
}

fn typed(claim: &str) -> TokenRejected {
    Type(claim.to_owned())
}

/// Flips a bit of a part of a token: 0 is the header, 1 the claims, 2 the signature.
fn flipped(token: &str, part: usize) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let mut bytes = URL_SAFE_NO_PAD.decode(&parts[part]).expect("base64");
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    parts[part] = base64(bytes);
    parts.join(".")
}

fn claims_of_the_wrong_kind() -> Vec<(&'static str, Value, TokenRejected)> {
    vec![
        ("aud", json!("other"), Audience),
        ("aud", json!(["other", "rollcall2"]), Audience),
        ("aud", json!(["rollcall", 1]), typed("aud")),
        ("aud", json!({"rollcall": true}), typed("aud")),
        ("iss", json!("https://login.example.com.evil.test"), UnknownIssuer),
        ("iss", json!([ISSUER]), typed("iss")),
        ("exp", json!((NOW + 600).to_string()), typed("exp")),
        ("exp", json!(true), typed("exp")),
        ("exp", json!(-1), typed("exp")),
        ("exp", json!(1e300), typed("exp")),
        ("exp", json!(NOW - 3_600), Expired),
        ("exp", json!(NOW + 10 * 365 * 86_400), TooLong),
        ("nbf", json!(NOW + 300), NotYet),
        ("nbf", json!("now"), typed("nbf")),
        ("nbf", json!(NOW - 3_100), TooLong),
        ("iat", json!(NOW + 300), NotYet),
        ("iat", json!({}), typed("iat")),
        ("iat", json!(NOW - 3_100), TooLong),
        ("sub", json!(42), typed("sub")),
        ("sub", json!(""), typed("sub")),
        ("sub", json!("a\nb"), typed("sub")),
        ("sub", json!("x".repeat(256)), typed("sub")),
        ("tenant", json!(["acme"]), typed("tenant")),
        ("tenant", json!("*"), typed("tenant")),
        ("tenant", json!("acme/../globex"), typed("tenant")),
        ("rollcall_role", json!("ROOT"), Role),
        ("rollcall_role", json!({"SUPER_ADMIN": true}), typed("rollcall_role")),
        ("rollcall_role", json!(["SUPER_ADMIN", null]), typed("rollcall_role")),
    ]
}

#[test]
fn a_claim_of_a_wrong_value_or_type_or_none_at_all_is_refused() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk(KID)]);
    for (claim, value, refusal) in claims_of_the_wrong_kind() {
        let token = signer.issue(KID, &alice_with(claim, value.clone()));
        assert_eq!(check(&rules(), &keys, &token), Err(refusal), "{claim}: {value}");
    }
    for claim in ["iss", "aud", "exp", "sub", "tenant", "rollcall_role"] {
        let token = signer.issue(KID, &alice_with(claim, Value::Null));
        assert_eq!(check(&rules(), &keys, &token), Err(missing(claim)));
    }
}

#[test]
fn no_algorithm_but_the_keys_own_is_believed() {
    let (ed, rsa, p256, p384) = (Signer::ed(), Signer::rsa(), Signer::p256(), Signer::p384());
    let set = keys(&[ed.jwk("ed"), rsa.jwk("rsa"), p256.jwk("p256"), p384.jwk("p384")]);
    let payload = base64(alice().to_string());
    let none = |alg: &str| format!("{}.{payload}.", base64(header(alg, "ed")));
    for alg in ["none", "None", "NONE", "", "HS256", "HS512", "ES384", "PS256"] {
        assert_eq!(check(&rules(), &set, &none(alg)), Err(Algorithm), "{alg:?}");
    }
    // The public key in each of its forms as the secret of an HMAC.
    for secret in [rsa.der(), rsa.public(), rsa.jwk("rsa").to_string().into_bytes()] {
        assert_eq!(check(&rules(), &set, &with_secret(&secret, "rsa", &alice())), Err(Algorithm));
    }
    // A signature of one key under the name of another, and the other way round.
    for (signer, alg, kid) in
        [(&rsa, "ES256", "rsa"), (&rsa, "RS256", "p256"), (&p256, "RS256", "p256"), (&ed, "RS256", "rsa")]
    {
        let refusal = check(&rules(), &set, &signer.token(&header(alg, kid), &alice().to_string()));
        assert!(matches!(refusal, Err(Algorithm | Signature)), "{alg} {kid}: {refusal:?}");
    }
    // The wrong curve has no key here at all.
    let wrong_curve = p384.token(&header("ES256", "p384"), &alice().to_string());
    assert_eq!(check(&rules(), &set, &wrong_curve), Err(UnknownKey));
    let mut narrow = rules();
    narrow.algorithms = vec![jsonwebtoken::Algorithm::ES256];
    assert_eq!(check(&narrow, &set, &ed.issue("ed", &alice())), Err(Algorithm), "not pinned");
}

#[test]
fn a_header_that_says_which_key_to_trust_is_refused() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk(KID)]);
    let own = signer.jwk(KID);
    for (name, value) in [
        ("jku", json!("https://evil.test/jwks.json")),
        ("x5u", json!("https://evil.test/x5u.pem")),
        ("jwk", own),
        ("crit", json!(["exp"])),
    ] {
        let mut header: Value = serde_json::from_str(&header("EdDSA", KID)).expect("JSON");
        header[name] = value;
        let token = signer.token(&header.to_string(), &alice().to_string());
        assert_eq!(check(&rules(), &keys, &token), Err(Header), "{name}");
    }
    let logout = signer.token(r#"{"alg":"EdDSA","kid":"k1","typ":"logout+jwt"}"#, &alice().to_string());
    assert_eq!(check(&rules(), &keys, &logout), Err(Header));
}

#[test]
fn a_key_that_is_not_there_is_not_looked_for_elsewhere() {
    let signer = Signer::ed();
    let set = keys(&[signer.jwk(KID)]);
    for kid in ["k2", "", "../../etc/passwd", "k1' OR 1=1", "K1", "k1\0"] {
        assert_eq!(check(&rules(), &set, &signer.issue(kid, &alice())), Err(UnknownKey), "{kid:?}");
    }
    let anonymous = signer.token(r#"{"alg":"EdDSA"}"#, &alice().to_string());
    assert_eq!(check(&rules(), &set, &anonymous), Err(UnknownKey));
    let number = signer.token(r#"{"alg":"EdDSA","kid":1}"#, &alice().to_string());
    assert_eq!(check(&rules(), &set, &number), Err(Malformed));
    let rotated = keys(&[Signer::ed().jwk("k2")]);
    assert_eq!(check(&rules(), &rotated, &signer.issue(KID, &alice())), Err(UnknownKey), "rotated out");
    let imposter = Signer::ed();
    assert_eq!(check(&rules(), &set, &imposter.issue(KID, &alice())), Err(Signature), "another key");
}

#[test]
fn what_was_changed_cut_or_padded_is_refused() {
    for signer in [Signer::ed(), Signer::p256(), Signer::rsa()] {
        let keys = keys(&[signer.jwk(KID)]);
        let token = signer.issue(KID, &alice());
        assert!(check(&rules(), &keys, &token).is_ok());
        assert!(check(&rules(), &keys, &flipped(&token, 1)).is_err(), "claims");
        assert_eq!(check(&rules(), &keys, &flipped(&token, 2)), Err(Signature));
        let (signed, signature) = token.rsplit_once('.').expect("a signature");
        let bytes = URL_SAFE_NO_PAD.decode(signature).expect("base64");
        for changed in [&bytes[..bytes.len() - 1], &bytes[1..], &[], &[&bytes[..], &[0]].concat()] {
            let token = format!("{signed}.{}", base64(changed));
            assert_eq!(check(&rules(), &keys, &token), Err(Signature), "{} bytes", changed.len());
        }
        let padded = format!("{signed}.{}", STANDARD.encode(&bytes));
        assert_eq!(check(&rules(), &keys, &padded), Err(Signature), "another alphabet");
        for trailing in ["=", " ", "\n", "\0", "A"] {
            assert!(check(&rules(), &keys, &format!("{token}{trailing}")).is_err(), "{trailing:?}");
        }
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk(KID)]);
    let token = signer.issue(KID, &alice());
    let (head, signed) = (header("EdDSA", KID), alice().to_string());
    let twice = signed.replacen('{', r#"{"tenant":"globex","#, 1);
    let twice_in_header = head.replacen('{', r#"{"kid":"k2","#, 1);
    for bad in [
        String::new(),
        "alice".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{token}.{token}"),
        format!("{token}."),
        format!(" {token}"),
        token.replacen('.', "..", 1),
        format!("!{token}"),
        signer.token(&head, "[]"),
        signer.token(&head, "null"),
        signer.token(&head, &format!("{signed} x")),
        signer.token("[]", &signed),
        signer.token(&head, &twice),
        signer.token(&twice_in_header, &signed),
        signer.issue(KID, &alice_with("email", json!("x".repeat(9_000)))),
        "A".repeat(1 << 20),
    ] {
        let refusal = check(&rules(), &keys, &bad);
        assert_eq!(refusal, Err(Malformed), "{}", bad.chars().take(200).collect::<String>());
    }
}

#[test]
fn a_refusal_shows_nothing_of_the_token() {
    let signer = Signer::ed();
    let set = keys(&[signer.jwk(KID)]);
    for claim in ["iss", "aud", "exp", "nbf", "iat", "sub", "tenant", "rollcall_role"] {
        let token = signer.issue(KID, &alice_with(claim, json!({"marker": "xyzzy"})));
        let refusal = check(&rules(), &set, &token).expect_err("a refusal");
        assert!(!format!("{refusal} {refusal:?} {}", refusal.reason()).contains("xyzzy"), "{claim}");
    }
}
