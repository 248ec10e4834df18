use rpc::service;

#[service]
trait Refused {
    async fn method<T>(&self, argument: T);
}

fn main() {}
