// The demo tenant's page: the official Socket.IO client, an echo, and the connection's state in words.
const state = document.getElementById("state");
const log = document.getElementById("log");

function note(text) {
  const item = document.createElement("li");
  item.textContent = text;
  log.append(item);
}

if (typeof io === "undefined") {
  state.textContent = "the Socket.IO client is not installed; run make demo";
} else {
  const socket = io();
  window.demoSocket = socket;
  socket.on("connect", () => {
    state.textContent = `connected by ${socket.io.engine.transport.name}`;
    socket.io.engine.on("upgrade", (transport) => {
      state.textContent = `connected by ${transport.name}`;
    });
  });
  socket.on("said", (answer) => note(JSON.stringify(answer.echo)));
  socket.on("uiBuilderControl", (message) => note(`gateway: ${message.uibuilderCtrl} (${message.reason})`));
  socket.on("disconnect", (reason) => { state.textContent = `disconnected: ${reason}`; });
  socket.on("connect_error", (error) => { state.textContent = `cannot connect: ${error.message}`; });

  document.getElementById("form").addEventListener("submit", (event) => {
    event.preventDefault();
    socket.emit("say", document.getElementById("text").value);
  });
}
