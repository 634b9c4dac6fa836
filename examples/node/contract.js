// Checks messages against the contract, by the AsyncAPI document; a device elsewhere needs a copy of it.

import { readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import addFormats from 'ajv-formats';

const document = readFileSync(new URL('../../docs/asyncapi.json', import.meta.url), 'utf8');
const ajv = new Ajv({ strict: false }); // beside its schemas, `components` has what is not JSON Schema
addFormats.default(ajv);
ajv.addSchema({ components: JSON.parse(document).components }, 'contract');

/** The message, or the fault that makes it none. Unknown fields are a fault where the contract says so: in commands. */
export function read(channel, text) {
  let body;
  try {
    body = JSON.parse(text);
  } catch (error) {
    return { fault: error.message };
  }
  const valid = ajv.getSchema(`contract#/components/messages/${channel}/payload`);
  return valid(body) ? { body } : { fault: ajv.errorsText(valid.errors, { dataVar: channel }) };
}
