//! What syncs of single users promise, on both engines.
