//! What tests/fuzz reaches beyond the public interface. Nothing else may use it.

/// Decodes a message of an upload from any bytes and takes it apart; what is not refused must be
/// within the limits.
///
/// # Panics
/// If it is not.
pub fn upload(bytes: &[u8]) {
    crate::api::router::upload_fuzz::check_bytes(bytes);
}
