//! Where a site remembers its jobs, as `[site] database` says it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postgres::config::SslMode;
use serde::Deserialize;

use crate::Secret;
use crate::store::{PostgresStore, SqliteStore, Store, StoreError, chain};

/// A database for states of jobs: the path of a file, or `postgres://USER:PASSWORD@HOST/NAME`, which several
/// processes may share. The text of the latter is kept as a secret, for the password in it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub enum Database {
    /// A file of SQLite, which one process has for itself.
    Sqlite(PathBuf),
    /// A PostgreSQL database, as libpq takes it: `postgres://mirror@%2Frun%2Fpostgresql/mirror` is one behind
    /// a socket of this machine.
    Postgres(Secret),
}

impl TryFrom<String> for Database {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some((scheme, _)) = text.split_once("://") else {
            return match Path::new(&text).is_absolute() {
                true => Ok(Self::Sqlite(text.into())),
                false => {
                    Err("a database is the absolute path of a file, or postgres://USER@HOST/NAME".into())
                }
            };
        };
        if !matches!(scheme, "postgres" | "postgresql") {
            return Err(format!(
                "{scheme}:// is no database that is known; PostgreSQL is postgres://USER@HOST/NAME"
            ));
        }
        let config: postgres::Config = text.parse().map_err(|error: postgres::Error| chain(&error))?;
        if config.get_ssl_mode() == SslMode::Require {
            let hint =
                "use a socket of this machine, a private network or a tunnel, and leave \"sslmode\" out";
            return Err(format!("TLS to PostgreSQL is not supported; {hint}"));
        }
        if config.get_user().is_none() {
            return Err("the user is missing: postgres://USER@HOST/NAME".to_owned());
        }
        Ok(Self::Postgres(Secret::new(text)))
    }
}

impl Database {
    /// Opens the database, and makes or updates its tables.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be reached or used, or is of a later version of this program.
    pub fn open(&self) -> Result<Arc<dyn Store>, StoreError> {
        Ok(match self {
            Self::Sqlite(path) => Arc::new(SqliteStore::open(path)?),
            Self::Postgres(connection) => Arc::new(PostgresStore::open(connection.reveal())?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database(text: &str) -> Result<Database, String> {
        Database::try_from(text.to_owned())
    }

    #[test]
    fn a_path_is_sqlite_and_a_url_postgresql_whose_password_is_not_shown() {
        assert_eq!(database("/var/lib/site.db"), Ok(Database::Sqlite("/var/lib/site.db".into())));
        let shared = database("postgres://me:s3cret@db.example/mirror").unwrap();
        assert!(matches!(shared, Database::Postgres(_)) && !format!("{shared:?}").contains("s3cret"));
    }

    #[test]
    fn what_is_no_database_is_refused_without_showing_it() {
        for (text, hint) in [
            ("site.db", "absolute path"),
            ("mysql://me:s3cret@host/x", "mysql:// is no database"),
            ("postgres://me:s3cret@host:port/x", "port"),
            ("postgres://me:s3cret@host/x?sslmode=require", "TLS to PostgreSQL"),
            ("postgres://host/x", "the user is missing"),
        ] {
            let error = database(text).unwrap_err();
            assert!(error.contains(hint) && !error.contains("s3cret"), "{text}: {error}");
        }
    }
}
