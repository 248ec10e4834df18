use rpc::service;

#[service]
trait Refused {
    pub async fn method(&self);
}

fn main() {}
