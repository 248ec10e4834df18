use rpc::service;

#[service]
fn refused() {}

fn main() {}
