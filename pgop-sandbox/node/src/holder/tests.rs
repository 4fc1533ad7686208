use super::{Holder, Ids, Rights, Start};
use std::ffi::CString;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;

fn start(holder: &Holder, program: &str, words: &[&str]) -> Start {
    let mut command = Command::new(program);
    command.args(words).stdout(Stdio::piped());
    Start {
        command,
        namespaces: holder.namespaces(&Arc::new(holder.new_net().unwrap())),
        directory: Some(CString::new("/usr").unwrap()),
        terminal: false,
        ids: None,
        rights: Rights::AsInside,
        keep: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_runs_inside_and_its_exit_code_comes_back() {
    let holder = Holder::start().unwrap();
    let (process, mut child) = start(&holder, "sh", &["-c", "echo $$ $(pwd); exit 7"]).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(process.wait().await.unwrap(), 7);
    assert!(text.ends_with(" /usr\n"), "{text}");
    assert!(
        text.split(' ').next().unwrap().parse::<u32>().unwrap() < 50,
        "a number of the holder's own namespace: {text}"
    );
    holder.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_an_error() {
    let holder = Holder::start().unwrap();
    let error = start(&holder, "/no/such/program", &[]).spawn().err().unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    tokio::time::timeout(std::time::Duration::from_secs(60), holder.end())
        .await
        .expect("nothing keeps the holder");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_holder_ends_all_below_it_ends() {
    let holder = Holder::start().unwrap();
    let (process, _child) = start(&holder, "sleep", &["1000"]).spawn().unwrap();
    let ((), code) = tokio::join!(holder.end(), process.wait());
    assert_eq!(code.unwrap(), 128 + 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_nobody_waits_for_does_not_keep_the_holder() {
    let holder = Holder::start().unwrap();
    drop(start(&holder, "sleep", &["1000"]).spawn().unwrap());
    tokio::time::timeout(std::time::Duration::from_secs(60), holder.end())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_nodes_end_of_the_socket_is_gone_the_holder_ends() {
    let holder = Holder::start().unwrap();
    let (process, _child) = start(&holder, "sleep", &["1000"]).spawn().unwrap();
    // As the kernel does for a node that was killed.
    let (other, _) = std::os::unix::net::UnixStream::pair().unwrap();
    *holder.socket.lock().unwrap() = other.into();
    assert_eq!(process.wait().await.unwrap(), 128 + 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_users_are_real_a_program_becomes_any_of_them() {
    let holder = Holder::start().unwrap();
    if holder.users().are_real() {
        let mut start = start(&holder, "sh", &["-c", "id -u; id -g; id -G; echo again >/dev/stdout"]);
        start.ids = Some(Ids {
            uid: 4711,
            gid: 4712,
            groups: vec![4713],
        });
        let (process, mut child) = start.spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "4711\n4712\n4712 4713\nagain\n");
        assert_eq!(process.wait().await.unwrap(), 0);
        holder.users_of(4711).unwrap();
    } else {
        assert!(holder.users_of(4711).is_err(), "nobody can be made of nothing");
    }
    holder.end().await;
}
