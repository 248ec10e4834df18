use rpc::service;

#[service]
trait Refused {
    async unsafe fn method(&self);
}

fn main() {}
