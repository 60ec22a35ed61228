//! `router-agent enroll`: exchanges a registration code for this router's identity. The code is
//! read from a file or from standard input, never from the command line, and is written nowhere.

use std::fs::File;
use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rollcall_proto::code::Code;
use rustls::client::danger::ServerCertVerifier;
use secrecy::{ExposeSecret, SecretString};

use crate::clock;
use crate::config::parse_address;
use crate::identity::{
    self, AUDIT_HEAD_FILE, Authorities, Facts, IDENTITY_FILE, IDENTITY_LOCK_TIMEOUT, PinnedAuthority,
    StateFolder, fingerprint, forget_pending_key, hex, issued, pending_key, vouches,
};
use crate::link::enrollment_client::{EnrollmentClient, EnrollmentError};
use crate::link::transport;

/// More than any code has.
const MAX_CODE_BYTES: u64 = 1_024;

/// What the command needs to know.
#[derive(Args, Debug)]
pub struct Enroll {
    /// The control plane's URL.
    #[arg(long, help = "The control plane, such as https://rollcall.example.com:8443")]
    control_plane: String,
    /// The state folder; it is made if there is none. The router's configuration names it as
    /// `state`.
    #[arg(long)]
    state: PathBuf,
    /// File with the registration code, `-` for standard input. Without it the code is asked for.
    #[arg(long)]
    code_file: Option<PathBuf>,
    /// Replace the identity of a router that has enrolled before.
    #[arg(long)]
    replace: bool,
    /// Refused: whoever is on the machine can read a command line.
    #[arg(long, hide = true, num_args = 0..=1)]
    code: Option<Option<String>>,
}

/// Enrolls; `say` gets the lines for whoever does it.
///
/// # Errors
/// A sentence that says what to do. The same code works again unless the control plane has refused
/// it.
pub async fn enroll(arguments: &Enroll, say: impl FnMut(String)) -> Result<()> {
    ensure!(
        arguments.code.is_none(),
        "a command line can be read by every user of this machine, and the shell keeps it in its history: put the code into a file that only \
         you can read and name that with --code-file, or leave both out and paste it when it is asked for. A code that was on a command \
         line is known: have an administrator void it and make another"
    );
    let (host, port) = parse_address(&arguments.control_plane).with_context(|| {
        format!(
            "--control-plane {:?} must look like https://rollcall.example.com:8443",
            arguments.control_plane
        )
    })?;
    let state = StateFolder::create(&arguments.state)?;
    ensure!(
        arguments.replace || !state.has(IDENTITY_FILE),
        "{} has an identity already; --replace replaces it",
        state.folder().display()
    );
    let code = read_code(arguments.code_file.as_deref())?;
    // The code itself is written nowhere, only that it was this one.
    let key = pending_key(&state, &format!("code {}", hex(&fingerprint(&code.secret))))?;

    let pin = Arc::new(PinnedAuthority::new(code.authority));
    let verifier = Arc::clone(&pin) as Arc<dyn ServerCertVerifier>;
    let mut client = EnrollmentClient::connect(&host, port, verifier).await?;
    let answer = client.enroll(&code.secret, &key).await;
    if let Err(EnrollmentError::Refused(refusal)) = &answer
        && refusal.needs_administrator()
    {
        forget_pending_key(&state)?;
    }
    let answer = answer?;

    let identity = issued(key, &answer, None)?;
    let pinned = pin
        .authority_in(&client.server_chain)
        .context("the control plane's authority is not in its chain")?;
    let authorities = trusted(&pinned, &answer.control_plane_authorities, &client, &host)?;
    let _change = state.lock_for_change(IDENTITY_LOCK_TIMEOUT).await?;
    forget_another_trail(&state, &identity.facts.name, &code)?;
    // The identity last: it is what makes a state folder that of an enrolled router.
    authorities.store(&state)?;
    identity::store(&state, &identity)?;
    forget_pending_key(&state)?;

    report(&identity.facts, &state, say);
    Ok(())
}

/// Says what the router has now, and what to do next.
fn report(facts: &Facts, state: &StateFolder, mut say: impl FnMut(String)) {
    let number = facts.generation.unwrap_or_default();
    say(format!("Enrolled as {}, with certificate {number}.", facts.name));
    say(format!(
        "It is valid until {}; the router renews it by itself.",
        transport::format_time(facts.validity.not_after)
    ));
    say(format!("Key (SHA-256): {}", facts.fingerprint));
    let now = clock::now();
    if now < facts.validity.not_before || now >= facts.validity.not_after {
        say(format!(
            "WARNING: this machine's clock says {}, when the certificate is not valid; set the clock.",
            transport::format_time(now)
        ));
    }
    say(format!(
        "Next: let the router's configuration say state = {:?}, and run router-agent check --config FILE.",
        std::path::absolute(state.folder()).unwrap_or_else(|_| state.folder().to_owned())
    ));
}

/// Reads the code from where it was said to be.
fn read_code(file: Option<&Path>) -> Result<Code> {
    let mut text = String::new();
    match file {
        Some(path) if path != Path::new("-") => {
            let cannot = || format!("cannot read {}", path.display());
            let file = File::open(path).with_context(cannot)?;
            let found = file.metadata().with_context(cannot)?;
            ensure!(
                !found.is_file() || found.permissions().mode() & 0o077 == 0,
                "{} can be read by others, so the code in it may be known: have an administrator void it and make another, and run chmod 600 \
                 on its file",
                path.display()
            );
            file.take(MAX_CODE_BYTES).read_to_string(&mut text).with_context(cannot)?;
        }
        None if io::stdin().is_terminal() => {
            // It is seen while it is pasted; by the time that anyone could copy it from there it is
            // used up.
            let mut terminal = io::stderr();
            write!(terminal, "Registration code: ").and_then(|()| terminal.flush()).context("no terminal")?;
            io::stdin().lock().take(MAX_CODE_BYTES).read_line(&mut text).context("cannot read the code")?;
        }
        _ => {
            io::stdin()
                .lock()
                .take(MAX_CODE_BYTES)
                .read_to_string(&mut text)
                .context("cannot read the code")?;
        }
    }
    let text = SecretString::from(text);
    if text.expose_secret().trim().is_empty() {
        bail!("there is no registration code; an administrator makes one with CreateRegistrationCode");
    }
    Ok(text.expose_secret().parse::<Code>()?)
}

/// The authorities that were handed out, if they are enough to know the control plane by; else also
/// the one of the code.
fn trusted(
    pinned: &Authorities,
    handed: &[bytes::Bytes],
    client: &EnrollmentClient,
    host: &str,
) -> Result<Authorities> {
    let Ok(handed) = Authorities::handed_out(handed) else { return Ok(pinned.clone()) };
    let enough = vouches(&handed, &client.server_chain, &transport::server_name(host)?, clock::now());
    Ok(if enough { handed } else { handed.with(pinned) })
}

/// What was seen of another tenant's, or another installation's, audit trail says nothing of this
/// one.
fn forget_another_trail(state: &StateFolder, name: &str, code: &Code) -> Result<()> {
    let tenant = |name: &str| name.split('/').nth(1).map(str::to_owned);
    let same_tenant = identity::load(state)
        .is_ok_and(|before| before.is_some_and(|before| tenant(&before.facts.name) == tenant(name)));
    let same_installation = Authorities::load(state).is_ok_and(|before| before.have_key(&code.authority));
    if !(same_tenant && same_installation) {
        state.remove(AUDIT_HEAD_FILE)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(state: &Path, rest: &[&str]) -> Enroll {
        #[derive(clap::Parser)]
        struct Cli {
            #[command(flatten)]
            enroll: Enroll,
        }
        let state = state.to_string_lossy();
        let fixed = ["enroll", "--control-plane", "https://127.0.0.1:1", "--state", &state];
        <Cli as clap::Parser>::parse_from(fixed.iter().chain(rest)).enroll
    }

    async fn refused(state: &Path, rest: &[&str]) -> String {
        let refused = enroll(&arguments(state, rest), |_| {}).await.expect_err("a refusal");
        format!("{refused:#}")
    }

    fn code(secret: u8) -> Code {
        Code { secret: [secret; 20], authority: [2; 32] }
    }

    fn file(folder: &Path, text: &str, mode: u32) -> String {
        let path = folder.join("code");
        std::fs::write(&path, text).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("a mode");
        path.to_string_lossy().into_owned()
    }

    #[tokio::test]
    async fn a_code_on_the_command_line_is_refused_and_the_sentence_says_what_to_do_instead() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let secret = code(1).reveal();
        for way in [vec!["--code", &secret], vec!["--code"]] {
            let said = refused(&state, &way).await;
            assert!(
                said.contains("--code-file") && said.contains("every user") && said.contains("void it"),
                "{said}"
            );
            assert!(!said.contains(&secret), "{said}");
        }
        assert!(!state.exists(), "nothing was begun");
    }

    #[tokio::test]
    async fn a_code_that_was_not_copied_whole_is_found_before_anyone_is_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let whole = code(1).reveal();
        let cut = file(folder.path(), &whole[..whole.len() - 3], 0o600);
        assert!(refused(&state, &["--code-file", &cut]).await.contains("copy all of it"));
        let none = file(folder.path(), "\n", 0o600);
        assert!(refused(&state, &["--code-file", &none]).await.contains("CreateRegistrationCode"));
        let open = file(folder.path(), &whole, 0o644);
        assert!(refused(&state, &["--code-file", &open]).await.contains("can be read by others"));
        let missing = refused(&state, &["--code-file", "/nowhere/code"]).await;
        assert!(missing.contains("cannot read /nowhere/code"), "{missing}");
    }

    #[tokio::test]
    async fn what_is_wrong_on_the_way_is_said_and_the_code_stays_unsaid() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = folder.path().join("state");
        let secret = code(1).reveal();
        let path = file(folder.path(), &secret, 0o600);
        let said = refused(&state, &["--code-file", &path]).await;
        assert!(said.contains("127.0.0.1:1 cannot be reached") && said.contains("firewall"), "{said}");
        assert!(!said.contains(&secret));
        for kept in std::fs::read_dir(&state).expect("a folder") {
            let kept = std::fs::read_to_string(kept.expect("a file").path()).expect("a text");
            assert!(!kept.contains(&secret[20..40]), "the code is in a file");
        }
    }

    #[tokio::test]
    async fn a_router_that_has_enrolled_is_not_replaced_by_accident() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::create(&folder.path().join("state")).expect("a state folder");
        state.write(IDENTITY_FILE, b"the only one").expect("a written file");
        assert!(refused(state.folder(), &[]).await.contains("--replace"));
        assert_eq!(state.read(IDENTITY_FILE).expect("a file"), Some(b"the only one".to_vec()));
    }
}
