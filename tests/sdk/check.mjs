// OpenAI's SDK for JavaScript against a running Hoheit: what an outside developer has, no more and no less.
//
// Takes HOHEIT_URL and the keys of npm/world.mjs by environment and expects the models that
// crates/hoheit/tests/it/sdk.rs registers; that test starts the site and runs this script. Prints `ok NAME` or
// `FAILED NAME: why` for each case and ends with 1 if one failed. Names given as arguments choose cases.

import * as answers from './npm/answers.mjs';
import * as receipts from './npm/receipts.mjs';
import * as refusals from './npm/refusals.mjs';

/** One line: what was wrong, and in which of our lines. */
function why(error) {
  const ours = [...String(error.stack).matchAll(/tests\/sdk\/(\w+\/)?(\w+\.mjs:\d+)/g)].map((found) => found[2]);
  return `${error.constructor.name}: ${error.message} (${ours.join(' < ')})`.replace(/\s+/g, ' ');
}

const wanted = process.argv.slice(2);
let failed = false;
for (const cases of [answers, refusals, receipts]) {
  for (const [name, run] of Object.entries(cases.default)) {
    if (wanted.length > 0 && !wanted.includes(name)) continue;
    try {
      await run();
      console.log(`ok ${name}`);
    } catch (error) {
      failed = true;
      console.log(`FAILED ${name}: ${why(error)}`);
    }
  }
}
process.exitCode = failed ? 1 : 0;
