// Node-RED behind Portcullis. Who may come here at all is the gateway's business; that nobody comes around it is the
// companion's (examples/node-red): it admits only whom the gateway vouches for, at the editor, at pages and at sockets.
//
//   PORTCULLIS_JWKS         https://auth.example.com/.portcullis/jwks.json, the gateway's keys; `off` runs without the companion
//   PORTCULLIS_AUDIENCE     this host's name; VIRTUAL_HOST when it is not set
//   PORTCULLIS_ISSUER       https://auth.example.com, the portal; not asked for when it is not set
//   PORTCULLIS_CA           a file with the certificate of a private CA
//   PORTCULLIS_PERMISSIONS  {"admins": "*", "staff": "read"}: what a group may do in the editor. Not set: everybody whom the
//                           gateway lets in may do everything
const portcullis = require('node-red-contrib-portcullis');

const UIB_ROOT = '/data/uibuilder';
const { PORTCULLIS_JWKS: jwks, PORTCULLIS_AUDIENCE, VIRTUAL_HOST, PORTCULLIS_ISSUER: issuer, PORTCULLIS_CA: ca, PORTCULLIS_PERMISSIONS } = process.env;

// What is said of uibuilder beside the companion.
const uibuilder = { telemetryEnabled: false };

function guarded() {
    if (jwks === 'off') {
        portcullis.uninstall(UIB_ROOT);
        return { uibuilder };
    }
    // /data may be a volume that the image has no files in.
    portcullis.install(UIB_ROOT);
    // Without an address there are no settings, and a companion without settings admits nobody.
    if (!jwks) { return portcullis.companion.settings({ uibuilder }); }
    const companion = portcullis.configure({
        jwks, issuer, ca,
        audience: (PORTCULLIS_AUDIENCE || VIRTUAL_HOST || '').split(',').map((host) => host.trim()).filter(Boolean),
        permissions: PORTCULLIS_PERMISSIONS ? JSON.parse(PORTCULLIS_PERMISSIONS) : { '*': '*' },
        loopbackPaths: ['/healthy'],
    });
    return companion.settings({ uibuilder });
}

module.exports = {
    flowFile: 'flows.json',
    credentialSecret: false,
    uiPort: Number(process.env.PORT || 1880),
    uiHost: process.env.HOST || '0.0.0.0',
    diagnostics: { enabled: false, ui: false },
    runtimeState: { enabled: false, ui: false },
    telemetry: { enabled: false, updateNotification: false },
    editorTheme: { tours: false, projects: { enabled: false }, palette: { catalogues: [] } },
    logging: { console: { level: 'info', metrics: false, audit: false } },
    // Paths may carry an encoded slash: nothing in front of this may decode it.
    contextStorage: { default: { module: 'memory' } },
    ...guarded(),
};
