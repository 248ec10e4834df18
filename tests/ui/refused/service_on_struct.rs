use rpc::service;

#[service]
struct Refused;

fn main() {}
