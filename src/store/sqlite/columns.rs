//! How our types lie in columns.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

use crate::{
    clock::Timestamp,
    name::{HostName, TenantId, UserId, UserName},
};

impl ToSql for Timestamp {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.into())
    }
}

impl FromSql for Timestamp {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(Self)
    }
}

macro_rules! text_column {
    ($name:ident, $read:expr) => {
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.as_str().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                $read(value.as_str()?)
            }
        }
    };
}

fn bad(error: impl std::error::Error + Send + Sync + 'static) -> FromSqlError {
    FromSqlError::Other(Box::new(error))
}

text_column!(UserId, |text| Ok(Self::from(text)));
text_column!(TenantId, |text| Ok(Self::from(text)));
text_column!(HostName, |text| Self::parse(text).map_err(bad));
text_column!(UserName, |text| Self::parse(text).map_err(bad));

/// A list of names, joined with commas (no name has one).
pub(super) struct Names(pub(super) Vec<UserName>);

impl FromSql for Names {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value
            .as_str()?
            .split(',')
            .filter(|it| !it.is_empty())
            .map(|it| UserName::parse(it).map_err(bad))
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// Names as a column has them.
pub(super) fn join(names: &[UserName]) -> String {
    names
        .iter()
        .map(UserName::as_str)
        .collect::<Vec<_>>()
        .join(",")
}
