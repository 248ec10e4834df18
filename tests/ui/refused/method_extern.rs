use rpc::service;

#[service]
trait Refused {
    async extern "C" fn method(&self);
}

fn main() {}
