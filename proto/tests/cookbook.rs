//! The calls in the documentation, read as grpcurl reads them: each is one that the API has, with
//! fields that it has, and the cookbook has every call of the API. What comes back is for the
//! end-to-end tests.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use serde_json::Value;

const PACKAGE: &str = "rollcall.admin.v1";

/// A call as a page has it.
struct Call<'a> {
    /// `Service/Method`.
    method: &'a str,
    json: Option<&'a str>,
}

/// The calls of one line: `rc Service/Method 'JSON'`, the same with `op`, or all of grpcurl, where
/// the request comes first.
fn calls(line: &str) -> Vec<Call<'_>> {
    let mut found = Vec::new();
    for prefix in ["rc ", "op ", "rollcall.admin.v1."] {
        for (at, _) in line.match_indices(prefix) {
            let (before, rest) = line.split_at(at);
            let rest = &rest[prefix.len()..];
            let end =
                rest.find(|char: char| !char.is_ascii_alphanumeric() && char != '/').unwrap_or(rest.len());
            let (method, behind) = rest.split_at(end);
            if !method.split_once('/').is_some_and(|(service, _)| service.ends_with("Service")) {
                continue;
            }
            let quoted = match prefix {
                "rollcall.admin.v1." => before.rsplit_once("-d '").map(|(_, json)| json),
                _ => behind.strip_prefix(" '"),
            };
            found.push(Call { method, json: quoted.and_then(|json| json.split('\'').next()) });
        }
    }
    found
}

fn pages(folder: &Path, found: &mut Vec<(String, String)>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            pages(&path, found)?;
        } else if name.ends_with(".md") {
            found.push((path.display().to_string(), fs::read_to_string(&path)?));
        }
    }
    Ok(())
}

fn parse(pool: &DescriptorPool, method: &str, json: &str) -> Result<()> {
    let (service, name) = method.split_once('/').context("no method")?;
    let service = pool.get_service_by_name(&format!("{PACKAGE}.{service}")).context("no such service")?;
    let method = service.methods().find(|method| method.name() == name).context("no such method")?;
    let mut request: Value = serde_json::from_str(json)?;
    // grpcurl takes a field mask as the message that it is, and not as the text that JSON has for
    // it (https://github.com/fullstorydev/grpcurl/issues/393).
    let mask = request.as_object_mut().and_then(|request| request.remove("update_mask"));
    if let Some(mask) = mask {
        let resource =
            request.as_object().and_then(|request| request.keys().next()).context("no resource")?;
        let paths = mask["paths"].as_array().context("no paths")?;
        paths
            .iter()
            .try_for_each(|path| has(&method.input(), resource, path.as_str().unwrap_or_default()))?;
    }
    DynamicMessage::deserialize(method.input(), request)?;
    Ok(())
}

/// Whether a field of a request has a field of this path.
fn has(request: &MessageDescriptor, resource: &str, path: &str) -> Result<()> {
    let mut message = request.clone();
    for name in std::iter::once(resource).chain(path.split('.')) {
        let field = message.get_field_by_name(name).with_context(|| format!("no field {name} in {path}"))?;
        if let Kind::Message(inner) = field.kind() {
            message = inner;
        }
    }
    Ok(())
}

#[test]
fn every_call_in_the_documentation_is_one_that_the_api_takes() -> Result<()> {
    let pool = DescriptorPool::decode(rollcall_proto::DESCRIPTORS)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    pages(&root, &mut found)?;
    let mut checked = 0;
    for (page, text) in &found {
        for call in text.lines().flat_map(calls) {
            let json = call.json.unwrap_or("{}");
            parse(&pool, call.method, json).with_context(|| format!("{page}: {} {json}", call.method))?;
            checked += 1;
        }
    }
    // The source that the cookbook makes from a file.
    let readme = fs::read_to_string(root.join("README.md"))?;
    let source = readme
        .split("```json\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .context("no source.json")?;
    parse(&pool, "IdentitySourceService/CreateIdentitySource", source)?;
    ensure!(checked > 60, "only {checked} calls were found");
    for (method, wrong) in [
        ("UserService/GetUser", r#"{"nome":"x"}"#),
        ("UserService/ListUsers", r#"{"status":"GONE"}"#),
        ("LicenseService/UpdateLicense", r#"{"license":{},"update_mask":{"paths":["limit"]}}"#),
    ] {
        ensure!(parse(&pool, method, wrong).is_err(), "{method} {wrong}");
    }
    ensure!(calls("`rc UserService/GetUsers`").iter().all(|call| parse(&pool, call.method, "{}").is_err()));
    Ok(())
}

#[test]
fn the_cookbook_has_every_call_of_the_api() -> Result<()> {
    let pool = DescriptorPool::decode(rollcall_proto::DESCRIPTORS)?;
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md"))?;
    let cookbook = readme.split("## grpcurl cookbook").nth(1).context("no cookbook")?;
    let words: BTreeSet<&str> = cookbook.split(|char: char| !char.is_ascii_alphanumeric()).collect();
    let missing: Vec<String> = pool
        .services()
        .filter(|service| service.package_name() == PACKAGE)
        .flat_map(|service| service.methods().map(|method| method.name().to_owned()).collect::<Vec<_>>())
        .filter(|method| !words.contains(method.as_str()))
        .collect();
    ensure!(missing.is_empty(), "{missing:?}");
    Ok(())
}
