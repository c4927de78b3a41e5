//! Each rule of this room by its sentence.

mod chunked;
mod chunked_relay;
mod head_scan;
mod request;
mod response;
