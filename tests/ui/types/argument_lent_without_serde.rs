use rpc::service;

struct Plain;

#[service]
trait Types {
    async fn method(&self, first: u8, argument: &Plain, rest: &[Plain]);
}

fn main() {}
