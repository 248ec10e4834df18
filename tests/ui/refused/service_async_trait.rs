use rpc::service;

#[service]
#[async_trait::async_trait]
trait Refused {}

fn main() {}
