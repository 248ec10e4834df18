use rpc::service;

#[service]
trait Refused {
    const LENGTH: usize = 3;
}

fn main() {}
