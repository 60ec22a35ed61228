//! The private PostgreSQL does what tests rely on.

use std::net::TcpStream;

use harness::Postgres;

type Outcome = anyhow::Result<()>;

#[test]
fn databases_are_fresh_and_apart() -> Outcome {
    let postgres = Postgres::start()?;
    let (one, two) = (postgres.database()?, postgres.database()?);
    postgres.psql(&one, "create table users (name text)")?;
    assert_eq!(postgres.psql(&one, "select count(*), 'x' from users")?, "0|x");
    assert!(postgres.psql(&two, "select count(*) from users").is_err());
    assert_eq!(postgres.psql(&one, "show fsync")?, "on");
    assert_eq!(postgres.psql(&one, "show server_encoding")?, "UTF8");
    Ok(())
}

#[test]
fn what_was_committed_survives_a_kill_and_a_restart() -> Outcome {
    let mut postgres = Postgres::start()?;
    let url = postgres.database()?;
    postgres.psql(&url, "create table users (name text); insert into users values ('Zoë')")?;
    postgres.kill()?;
    assert!(postgres.psql(&url, "select 1").is_err());
    postgres.start_again()?;
    postgres.restart()?;
    assert_eq!(postgres.psql(&url, "select name from users")?, "Zoë");
    let address = postgres.address();
    drop(postgres);
    assert!(TcpStream::connect(address).is_err());
    Ok(())
}
