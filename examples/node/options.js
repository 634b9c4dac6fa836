// The command line: where the broker is, and how this device proves who it is. The same options as charger.py.

import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const USAGE = `node attach.js [--broker mqtt://127.0.0.1:1883] [--site fit-g2v] [--device bess] [--memory FILE]
               [--cafile FILE --cert FILE --key FILE] [--username NAME --password-file FILE]

  --broker   mqtt://host:port, or mqtts://host:port for TLS
  --cafile   whom to trust to sign the broker's certificate; else Node's own list
  --cert     certificate (PEM) with CN=SITE_DEVICE, so that --site and --device may be left out; --key is its key
  --memory   where registers and identity outlive a restart; default DEVICE.json`;

const NAMES = ['broker', 'site', 'device', 'memory', 'cafile', 'cert', 'key', 'username', 'password-file'];

/** Ends the program with status 2 and says why when the command line is wrong. */
export function options() {
  try {
    const declared = Object.fromEntries([...NAMES.map((name) => [name, { type: 'string' }]), ['help', { type: 'boolean' }]]);
    const { values } = parseArgs({ options: declared });
    if (values.help) {
      console.log(USAGE);
      process.exit(0);
    }
    return checked(values);
  } catch (error) {
    console.error(`${error.message}\n\n${USAGE}`);
    return process.exit(2);
  }
}

function checked({ broker = 'mqtt://127.0.0.1:1883', cafile, cert, key, username, 'password-file': passwordFile, ...rest }) {
  const tls = /^mqtts:\/\/[^@/]+$/.test(broker);
  if (!tls && !/^mqtt:\/\/[^@/]+$/.test(broker)) {
    throw new Error('--broker: allowed is mqtt://host:port or mqtts://host:port; a password goes into a file');
  }
  if (!tls && (cafile ?? cert ?? key)) throw new Error(`--cafile, --cert, --key: ${broker} is not encrypted; use mqtts://`);
  if (!cert !== !key) throw new Error('--cert, --key: a certificate and its key are given together');
  if (!username !== !passwordFile) throw new Error('--username, --password-file: they are given together');
  const [site, device] = cert ? ownerOf(cert, rest) : [rest.site ?? 'fit-g2v', rest.device ?? 'bess'];
  const access = {
    ...(cafile && { ca: readFileSync(cafile) }),
    ...(cert && { cert: readFileSync(cert), key: readFileSync(key) }),
    ...(username && { username, password: readFileSync(passwordFile, 'utf8').split('\n')[0] }),
  };
  return { broker, site, device, access, memory: rest.memory ?? `${device}.json` };
}

function ownerOf(cert, given) {
  const { subject } = new X509Certificate(readFileSync(cert));
  const [, site, device] = /^CN=([^_\n]+)_([^_\n]+)$/m.exec(subject) ?? [];
  if (!device) throw new Error(`--cert: its subject has to be CN=SITE_DEVICE, it is ${subject}`);
  if ((given.site ?? site) !== site || (given.device ?? device) !== device) {
    throw new Error(`--site, --device: the certificate ${cert} is that of ${device} of the site ${site}`);
  }
  return [site, device];
}
