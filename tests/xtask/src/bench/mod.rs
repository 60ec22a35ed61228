//! Placeholder until the bench engineer writes it.
#[derive(clap::Args)]
pub(crate) struct Options {}
pub(crate) fn run(_: &Options) -> anyhow::Result<()> { Ok(()) }
