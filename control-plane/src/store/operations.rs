//! `operations!`: the methods of [`super::Store`], each declared once and bound to the one function
//! in `sql` that carries it out.
//!
//! A declaration begins with its kind:
//! - `read`: runs on a connection for reading, outside of a transaction.
//! - `write`: one transaction, in a task of its own. It may run again if it lost against another
//!   one.
//! - `steps`: the function gets the engine and combines reads and writes itself.
//!
//! An argument `&T` or `Option<&T>` of a write is cloned once into the task and lent to each try.
//! `by: &Actor, now: Timestamp` reach `sql` as one [`crate::model::Call`].
//! `move T` takes a value from the caller and lends it as `&T`. Other arguments are copied.

/// Declares methods of the store and binds each to its function in `sql`, for both engines.
macro_rules! operations {
    ($($(#[$doc:meta])* $kind:ident fn $name:ident($($args:tt)*) -> $out:ty = $($path:ident)::+;)+) => {
        impl $crate::store::Store {
            $($crate::store::operations::operation! {
                @arguments $kind [$(#[$doc])*] $name [$out] [$($path)::+] [] [] [] [] [] $($args)*,
            })+
        }
    };
}

/// One method. `@arguments` sorts the arguments into five lists: as they are declared, as they are
/// held by a task, the patterns that take them out of there, and how they are lent and passed on.
macro_rules! operation {
    // A pair of references.
    (@arguments $kind:ident $docs:tt $name:ident $out:tt $path:tt
        [$($sig:tt)*] [$($held:tt)*] [$($bound:tt)*] [$($lent:tt)*] [$($passed:tt)*]
        ($a:ident, $b:ident): (&$ta:ty, &$tb:ty), $($rest:tt)*) => {
        $crate::store::operations::operation! { @arguments $kind $docs $name $out $path
            [$($sig)* ($a, $b): (&$ta, &$tb),]
            [$($held)* ($a.to_owned(), $b.to_owned()),] [$($bound)* ($a, $b),]
            [$($lent)* ($a, $b),] [$($passed)* ($a, $b),] $($rest)* }
    };
    // The last two of most changes: they reach `sql` as one value.
    (@arguments $kind:ident $docs:tt $name:ident $out:tt $path:tt
        [$($sig:tt)*] [$($held:tt)*] [$($bound:tt)*] [$($lent:tt)*] [$($passed:tt)*]
        by: &Actor, now: Timestamp, $($rest:tt)*) => {
        $crate::store::operations::operation! { @arguments $kind $docs $name $out $path
            [$($sig)* by: &Actor, now: Timestamp,]
            [$($held)* $crate::model::Call { by: by.clone(), now },] [$($bound)* call,]
            [$($lent)* call,] [$($passed)* &$crate::model::Call { by: by.clone(), now },] $($rest)* }
    };
    (@arguments $kind:ident $docs:tt $name:ident $out:tt $path:tt
        [$($sig:tt)*] [$($held:tt)*] [$($bound:tt)*] [$($lent:tt)*] [$($passed:tt)*]
        $a:ident: Option<&$t:ty>, $($rest:tt)*) => {
        $crate::store::operations::operation! { @arguments $kind $docs $name $out $path
            [$($sig)* $a: Option<&$t>,]
            [$($held)* $a.map(::std::borrow::ToOwned::to_owned),] [$($bound)* $a,]
            [$($lent)* $a.as_ref().map(::std::borrow::Borrow::<$t>::borrow),] [$($passed)* $a,]
            $($rest)* }
    };
    (@arguments $kind:ident $docs:tt $name:ident $out:tt $path:tt
        [$($sig:tt)*] [$($held:tt)*] [$($bound:tt)*] [$($lent:tt)*] [$($passed:tt)*]
        $a:ident: &$t:ty, $($rest:tt)*) => {
        $crate::store::operations::operation! { @arguments $kind $docs $name $out $path
            [$($sig)* $a: &$t,]
            [$($held)* $a.to_owned(),] [$($bound)* $a,]
            [$($lent)* ::std::borrow::Borrow::<$t>::borrow($a),] [$($passed)* $a,] $($rest)* }
    };
    (@arguments $kind:ident $docs:tt $name:ident $out:tt $path:tt
        [$($sig:tt)*] [$($held:tt)*] [$($bound:tt)*] [$($lent:tt)*] [$($passed:tt)*]
        $a:ident: move $t:ty, $($rest:tt)*) => {
        $crate::store::operations::operation! { @arguments $kind $docs $name $out $path
            [$($sig)* $a: $t,]
            [$($held)* $a,] [$($bound)* $a,] [$($lent)* $a,] [$($passed)* &$a,] $($rest)* }
    };
    (@arguments $kind:ident $docs:tt $name:ident $out:tt $path:tt
        [$($sig:tt)*] [$($held:tt)*] [$($bound:tt)*] [$($lent:tt)*] [$($passed:tt)*]
        $a:ident: $t:ty, $($rest:tt)*) => {
        $crate::store::operations::operation! { @arguments $kind $docs $name $out $path
            [$($sig)* $a: $t,]
            [$($held)* $a,] [$($bound)* $a,]
            [$($lent)* ::std::clone::Clone::clone($a),] [$($passed)* $a,] $($rest)* }
    };
    // The end, behind the last argument's comma and the one that `operations!` adds.
    (@arguments $kind:ident $docs:tt $name:ident $out:tt $path:tt
        $sig:tt $held:tt $bound:tt $lent:tt $passed:tt $(,)?) => {
        $crate::store::operations::operation! {
            @$kind $docs $name $out $path $sig $held $bound $lent $passed
        }
    };
    (@read [$($docs:tt)*] $name:ident [$out:ty] [$($path:tt)+]
        [$($sig:tt)*] $held:tt $bound:tt $lent:tt [$($passed:tt)*]) => {
        $($docs)*
        pub async fn $name(&self, $($sig)*) -> $crate::store::Result<$out> {
            match self {
                Self::Sqlite(engine) => {
                    let mut connection = engine.reader().await?;
                    $crate::store::sqlite::sql::$($path)+(&mut connection, $($passed)*).await
                }
                Self::Postgres(engine) => {
                    let mut connection = engine.reader().await?;
                    $crate::store::postgres::sql::$($path)+(&mut connection, $($passed)*).await
                }
            }
        }
    };
    (@write [$($docs:tt)*] $name:ident [$out:ty] [$($path:tt)+]
        [$($sig:tt)*] [$($held:tt)*] [$($bound:tt)*] [$($lent:tt)*] $passed:tt) => {
        $($docs)*
        pub async fn $name(&self, $($sig)*) -> $crate::store::Result<$out> {
            let arguments = ($($held)*);
            match self {
                Self::Sqlite(engine) => {
                    let work = engine.write(arguments, |connection, ($($bound)*)| {
                        Box::pin($crate::store::sqlite::sql::$($path)+(connection, $($lent)*))
                    });
                    work.await
                }
                Self::Postgres(engine) => {
                    let work = engine.write(arguments, |connection, ($($bound)*)| {
                        Box::pin($crate::store::postgres::sql::$($path)+(connection, $($lent)*))
                    });
                    work.await
                }
            }
        }
    };
    (@steps [$($docs:tt)*] $name:ident [$out:ty] [$($path:tt)+]
        [$($sig:tt)*] $held:tt $bound:tt $lent:tt [$($passed:tt)*]) => {
        $($docs)*
        pub async fn $name(&self, $($sig)*) -> $crate::store::Result<$out> {
            match self {
                Self::Sqlite(engine) => $crate::store::sqlite::sql::$($path)+(engine, $($passed)*).await,
                Self::Postgres(engine) => $crate::store::postgres::sql::$($path)+(engine, $($passed)*).await,
            }
        }
    };
}

pub(super) use {operation, operations};
