use rpc::service;

#[service]
trait Refused {
    async fn method(&self, mut argument: u8) {
        argument += 1;
        drop(argument);
    }
}

fn main() {}
