use rpc::service;

#[service]
unsafe trait Refused {}

fn main() {}
