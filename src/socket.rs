//! The WebSocket relay and the Engine.IO / Socket.IO guard.
