//! TCP and Unix stream sockets.
//!
//! Every call is an operation on the worker's ring. Reading and writing take `&self`: a stream
//! may be read and written at once, and its clones share the socket.

mod buf_ring;
mod listener;
mod lookup;
mod send_file;
mod stream;
mod stream_io;
mod tcp;
mod unix;

pub use buf_ring::{BufRing, RecvStream, RingBuf};
pub use listener::{Accepted, Incoming};
pub use lookup::lookup_host;
pub use stream::{Recv, Send};
pub use stream_io::{StreamIo, StreamSocket};
pub use tcp::{TcpListener, TcpListenerOptions, TcpStream};
pub use unix::{UnixListener, UnixStream};
