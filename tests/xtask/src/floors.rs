//! What manifests and lock file promise: no dependency is older than the fix of a hole that would
//! reach us, none is one that we never want, and every crate of the workspace forbids unsafe code.
//! The holes are listed here, since a database of advisories can be had only where there is a
//! network.

use std::fs;
use std::process::Command;

use crate::tools::workspace;

/// The oldest release of a crate that may be in the lock file, and why.
const FLOORS: [(&str, [u64; 3], &str); 7] = [
    (
        "h2",
        [0, 4, 16],
        "RUSTSEC-2026-0258 empty DATA frames, -2024-0332 CONTINUATION flood, -2024-0003 reset flood",
    ),
    ("tonic", [0, 14, 0], "RUSTSEC-2024-0376 the accept loop ends; the size of inflated messages is bounded"),
    ("rustls", [0, 23, 46], "RUSTSEC-2024-0399 panic in Acceptor, -2024-0336 endless loop"),
    (
        "rustls-webpki",
        [0, 103, 13],
        "RUSTSEC-2026-0104 panic on a CRL, -0098, -0099 name constraints, -0049 CRL matching",
    ),
    ("libsqlite3-sys", [0, 37, 0], "SQLite before 3.51.3 can damage a database when it resets the log"),
    ("tracing-subscriber", [0, 3, 20], "RUSTSEC-2025-0055 escape codes in logs"),
    ("prost", [0, 14, 0], "RUSTSEC-2020-0002 unbounded recursion"),
];

/// Crates that may not be built, and why.
const NEVER: [(&str, &str); 5] = [
    ("ring", "aws-lc-rs is the one crypto provider; with two of them rustls panics at run time"),
    ("openssl-sys", "a second TLS stack"),
    ("native-tls", "a second TLS stack"),
    ("rsa", "RUSTSEC-2023-0071 has no fix"),
    ("serde_yaml", "archived by its author"),
];

/// Name and version of every package in the lock file.
fn locked() -> Vec<(String, [u64; 3])> {
    let text = read("Cargo.lock");
    let field = |package: &str, name: &str| {
        let line = package.lines().find_map(|line| line.strip_prefix(&format!("{name} = \"")));
        line.and_then(|rest| rest.strip_suffix('"')).expect("a field of a package").to_owned()
    };
    let packages = text.split("[[package]]").skip(1);
    packages.map(|package| (field(package, "name"), version(&field(package, "version")))).collect()
}

fn version(text: &str) -> [u64; 3] {
    let numbers = text.split(['-', '+']).next().unwrap_or_default().split('.');
    let numbers: Vec<u64> = numbers.map(|number| number.parse().expect("a number")).collect();
    numbers.try_into().expect("three numbers")
}

fn read(path: &str) -> String {
    fs::read_to_string(workspace().join(path)).expect("a file of the workspace")
}

/// Folders of the workspace's crates.
fn members() -> Vec<String> {
    let text = read("Cargo.toml");
    let list = text.lines().find_map(|line| line.strip_prefix("members = [")?.strip_suffix(']'));
    let members = list.expect("a list of members on one line").split(',');
    members.map(|member| member.trim().trim_matches('"').to_owned()).collect()
}

/// Lines of a section of a manifest.
fn section(manifest: &str, name: &str) -> Vec<String> {
    let mut lines = manifest.lines().map(str::trim).skip_while(|line| *line != format!("[{name}]")).skip(1);
    lines.by_ref().take_while(|line| !line.starts_with('[')).map(str::to_owned).collect()
}

#[test]
fn no_dependency_is_older_than_the_fix_that_we_need() {
    let locked = locked();
    for (name, floor, why) in FLOORS {
        let versions: Vec<_> = locked.iter().filter(|(package, _)| package == name).collect();
        assert!(!versions.is_empty(), "{name} is not in the lock file: take it from this list");
        for (_, version) in versions {
            assert!(*version >= floor, "{name} {version:?} is older than {floor:?}: {why}");
        }
    }
}

#[test]
fn no_dependency_is_one_that_we_never_want() {
    // The lock file also has crates of features that are off, so cargo says what is built.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "--workspace", "--offline", "--locked", "--prefix=none", "--format={p}"];
    let output = Command::new(cargo).current_dir(workspace()).args(arguments).output().expect("cargo tree");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let built: Vec<_> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(built.contains(&"rustls"), "the tree is as this test reads it");
    for (name, why) in NEVER {
        assert!(!built.contains(&name), "{name} is built: {why}");
    }
    for member in members() {
        let manifest = read(&format!("{member}/Cargo.toml"));
        assert!(!manifest.contains("no-recursion-limit"), "{member}: prost without a limit on recursion");
    }
}

#[test]
fn every_crate_of_the_workspace_forbids_unsafe_code() {
    let forbidden = |lines: &[String]| lines.iter().any(|line| line == "unsafe_code = \"forbid\"");
    assert!(forbidden(&section(&read("Cargo.toml"), "workspace.lints.rust")), "the workspace's own lints");
    let members = members();
    assert!(members.len() >= 6, "the members are where this test looks for them: {members:?}");
    for member in members {
        let manifest = read(&format!("{member}/Cargo.toml"));
        let inherits = section(&manifest, "lints").iter().any(|line| line == "workspace = true");
        assert!(inherits || forbidden(&section(&manifest, "lints.rust")), "{member} allows unsafe code");
    }
}

#[test]
fn shipped_programs_keep_their_symbols_and_no_debug_information() {
    let release = section(&read("Cargo.toml"), "profile.release");
    assert!(
        release.contains(&"strip = \"debuginfo\"".to_owned()),
        "packages would be several times as large"
    );
    let dist = section(&read("Cargo.toml"), "profile.dist");
    assert!(dist.contains(&"inherits = \"release\"".to_owned()), "packages are built with other settings");
}
