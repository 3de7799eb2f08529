//! Admission policies as pure functions of (compiled policies, request, snapshot).
mod crypt;
mod duration;
mod image;
mod jmespath;
mod meter;
mod nearest;
mod pem;
mod quantity;
mod version;
mod wildcard;
pub mod yaml;
