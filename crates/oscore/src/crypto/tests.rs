mod ciphers;
mod edges;
mod keys;
mod wycheproof;
