use rpc::service;

#[service]
trait Refused {
    async fn method(&self, argument: &'static str);
}

fn main() {}
