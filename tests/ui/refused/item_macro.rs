use rpc::service;

#[service]
trait Refused {
    methods!();
}

fn main() {}
