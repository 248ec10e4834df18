use rpc::service;

#[service(oneway)]
trait Refused {}

fn main() {}
