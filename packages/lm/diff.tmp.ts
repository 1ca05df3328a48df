import fc from 'fast-check';
import { both, outcome, texts, tokenizers } from './test/tokenizer/oracle.js';
const seed = Number(process.argv[2] ?? 1), runs = Number(process.argv[3] ?? 300);
let n = 0, refused = 0, bothFail = 0, enc = 0;
const r = await fc.check(fc.asyncProperty(tokenizers, fc.array(texts, { minLength: 1, maxLength: 4 }), fc.array(fc.nat(60), { maxLength: 12 }), async (json, list, ids) => {
  n++; (await import('node:fs')).writeFileSync('/tmp/last.json', JSON.stringify([json, list, ids]));
  const pair = both(json);
  if (!pair) { refused++; return; }
  const { ours, theirs } = pair;
  for (const text of list) for (const add of [true, false]) {
    const want = await outcome(async () => (await theirs.encode(text, null, { addSpecialTokens: add })).getIds());
    const got = await outcome(() => ours.encode(text, add));
    enc++; if (want === 'fails') bothFail++;
    if (JSON.stringify(want) !== JSON.stringify(got)) throw new Error(`encode ${JSON.stringify(text)} ${add} want ${JSON.stringify(want)} got ${JSON.stringify(got)} ${got === 'fails' ? (() => { try { ours.encode(text, add) } catch (e) { return (e as Error).stack } })() : ''}`);
    if (got !== 'fails' && add === false) { const o = ours.encodeWithOffsets(text); if (String(o.ids) !== String(ours.encode(text, false)) && !json.post_processor) throw new Error('offset ids ' + JSON.stringify(text)); }
  }
  for (const skip of [true, false]) {
    const want = await outcome(() => theirs.decode(ids, skip));
    const got = await outcome(() => ours.decode(ids, skip));
    if (want !== got) throw new Error(`decode ${ids} ${skip} want ${JSON.stringify(want)} got ${JSON.stringify(got)}`);
    const streamed = await outcome(() => { const s = ours.stages(); let t = ''; for (const id of ids) { const token = ours.added.tokenOf(id); if (token !== undefined && !(skip && ours.added.isSpecial(token))) t += s.push(token); } return t + s.flush(); });
    if (streamed !== got) throw new Error(`stream ${ids} ${skip} want ${JSON.stringify(got)} got ${JSON.stringify(streamed)}`);
  }
}), { seed, numRuns: runs, endOnFailure: false });
console.log({ n, refused, enc, bothFail, failed: r.failed, shrinks: r.numShrinks });
if (r.failed) { console.log(JSON.stringify(r.counterexample)); console.log(r.errorInstance); }
process.exit(0);
