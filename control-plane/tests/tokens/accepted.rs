//! Tokens that are accepted, and whom they name.

use control_plane::api::middleware::tokens::{Person, TokenRejected, claims};
use control_plane::model::Role;
use control_plane::model::TenantId;
use serde_json::json;

use super::signer::{CONSOLE, NOW, Signer, alice, alice_with, at, check, header, keys, rules};

#[test]
fn a_token_of_each_kind_of_key_names_the_person_and_until_when() {
    for signer in [Signer::ed(), Signer::p256(), Signer::rsa()] {
        let keys = keys(&[signer.jwk("k1")]);
        let person = check(&rules(), &keys, &signer.issue("k1", &alice())).expect("a person");
        let tenant = TenantId::from("acme");
        let until = at(NOW + 660);
        assert_eq!(person, Person { tenant, name: "alice".to_owned(), role: Role::SuperAdmin, until });
    }
}

#[test]
fn the_highest_role_that_is_known_counts() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k1")]);
    for (roles, expected) in [
        (json!("AUDITOR"), Ok(Role::Auditor)),
        (json!(["AUDITOR", "HELP_DESK"]), Ok(Role::HelpDesk)),
        (json!(["ROOT", "AUDITOR", "SUPER_ADMIN"]), Ok(Role::SuperAdmin)),
        (json!(["OPERATOR", "CONSOLE", "ROUTER", "super_admin", "SUPER_ADMIN "]), Err(TokenRejected::Role)),
        (json!([]), Err(TokenRejected::Role)),
    ] {
        let token = signer.issue("k1", &alice_with("rollcall_role", roles.clone()));
        assert_eq!(check(&rules(), &keys, &token).map(|person| person.role), expected, "{roles}");
    }
}

#[test]
fn a_minute_of_leeway_and_no_more_is_given_to_clocks_that_differ() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k1")]);
    let with = |claim: &str, value: i64| signer.issue("k1", &alice_with(claim, json!(value)));
    for (token, expected) in [
        (with("exp", NOW - 59), None),
        (with("exp", NOW - 60), Some(TokenRejected::Expired)),
        (with("nbf", NOW + 60), None),
        (with("nbf", NOW + 61), Some(TokenRejected::NotYet)),
        (with("iat", NOW + 60), None),
        (with("iat", NOW + 61), Some(TokenRejected::NotYet)),
        (with("exp", NOW + 3_600), None),
        (with("exp", NOW + 3_601), Some(TokenRejected::TooLong)),
    ] {
        assert_eq!(check(&rules(), &keys, &token).err(), expected);
    }
}

#[test]
fn what_is_optional_may_be_missing_and_what_means_nothing_may_be_there() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k1")]);
    let mut bare = alice_with("nbf", json!(null));
    bare.as_object_mut().expect("an object").remove("iat");
    bare["aud"] = json!(["other", "rollcall"]);
    bare["email"] = json!({"nested": [1, 2]});
    bare["exp"] = json!(NOW as f64 + 0.5);
    let token = signer.token(r#"{"alg":"EdDSA","kid":"k1","x5t":"AAAA"}"#, &bare.to_string());
    assert!(check(&rules(), &keys, &token).is_ok());
    let access = signer.token(r#"{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}"#, &alice().to_string());
    assert!(check(&rules(), &keys, &access).is_ok());
}

#[test]
fn a_subject_cannot_be_mistaken_for_another_resource_name() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k1")]);
    for (subject, name) in [
        ("auth0|5f7c", "auth0|5f7c"),
        ("alice@example.com", "alice@example.com"),
        ("../operators/ops", "..%2Foperators%2Fops"),
        ("a%2Fb", "a%252Fb"),
    ] {
        let token = signer.issue("k1", &alice_with("sub", json!(subject)));
        assert_eq!(check(&rules(), &keys, &token).map(|person| person.name), Ok(name.to_owned()));
    }
}

#[test]
fn an_issuer_speaks_for_the_tenants_and_through_the_consoles_that_it_was_given() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k1")]);
    let mut rules = rules();
    rules.tenants = Some(vec![TenantId::from("globex"), TenantId::from("acme")]);
    let token = signer.issue("k1", &alice());
    assert!(check(&rules, &keys, &token).is_ok());
    rules.tenants = Some(vec![TenantId::from("globex")]);
    assert_eq!(check(&rules, &keys, &token), Err(TokenRejected::Tenant));
    let read = claims::read(&token).expect("a token");
    assert_eq!(read.verify(&rules, &keys, "kiosk", at(NOW)), Err(TokenRejected::Console));
    assert_eq!(CONSOLE, "portal");
}

#[test]
fn a_claim_with_another_name_is_taken_where_the_configuration_says_so() {
    let signer = Signer::ed();
    let keys = keys(&[signer.jwk("k1")]);
    let mut rules = rules();
    (rules.tenant_claim, rules.role_claim) = ("https://example.com/org".to_owned(), "groups".to_owned());
    assert_eq!(
        check(&rules, &keys, &signer.issue("k1", &alice())),
        Err(TokenRejected::Missing("https://example.com/org".to_owned()))
    );
    let mut claims = alice();
    (claims["https://example.com/org"], claims["groups"]) = (json!("globex"), json!(["AUDITOR"]));
    let token = signer.token(&header("EdDSA", "k1"), &claims.to_string());
    let person = check(&rules, &keys, &token).expect("a person");
    assert_eq!((person.tenant.as_str(), person.role), ("globex", Role::Auditor));
}
