// Node-RED behind Portcullis. Who may come here at all is the gateway's business; what they may do here is decided by
// the identity headers that only the gateway can set (`Remote-User`, `X-Portcullis-Assertion`).
module.exports = {
    flowFile: 'flows.json',
    credentialSecret: false,
    uiPort: Number(process.env.PORT || 1880),
    uiHost: process.env.HOST || '0.0.0.0',
    // The address that Portcullis connects from is the only one that should reach this port.
    diagnostics: { enabled: false, ui: false },
    runtimeState: { enabled: false, ui: false },
    telemetry: { enabled: false, updateNotification: false },
    editorTheme: { tours: false, projects: { enabled: false }, palette: { catalogues: [] } },
    logging: { console: { level: 'info', metrics: false, audit: false } },
    // Paths may carry an encoded slash: nothing in front of this may decode it.
    contextStorage: { default: { module: 'memory' } },
    uibuilder: { telemetryEnabled: false },
};
