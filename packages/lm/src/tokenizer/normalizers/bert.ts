import type { Fields } from '../fields.js';
import type { Edit } from '../piece.js';
import { replaceCharacters } from '../piece.js';
import { CodePointSet } from '../unicode/code-point-set.js';
import { normalForm } from '../unicode/normal-forms.js';
import { property, setPattern, whiteSpace } from '../unicode/unicode.js';
import { lowercased } from './lowercased.js';

/** Blocks of Chinese characters that BERT puts spaces around. The gap before U+2B920 is the reference's own. */
const CHINESE = CodePointSet.of([
  0x4e00, 0x9fff, 0x3400, 0x4dbf, 0x20000, 0x2a6df, 0x2a700, 0x2b73f, 0x2b740, 0x2b81f, 0x2b920, 0x2ceaf, 0xf900,
  0xfaff, 0x2f800, 0x2fa1f,
]);

/** `BertNormalizer`: cleaning, spaces around Chinese characters, accents, lowercase. */
export function bertNormalizer(fields: Fields): Edit {
  const lower = fields.boolean('lowercase');
  const accents = fields.raw('strip_accents') === undefined ? lower : fields.boolean('strip_accents');
  const steps: Edit[] = [];
  if (fields.boolean('clean_text')) {
    const removed = setPattern(property('control').union(CodePointSet.of([0, 0, 0xfffd, 0xfffd])));
    const spaces = setPattern(whiteSpace());
    steps.push((text, log) => replaceCharacters(text, log, removed, () => ''));
    steps.push((text, log) => replaceCharacters(text, log, spaces, () => ' '));
  }
  if (fields.boolean('handle_chinese_chars')) {
    const chinese = setPattern(CHINESE);
    steps.push((text, log) => replaceCharacters(text, log, chinese, (character) => ` ${character} `));
  }
  if (accents) {
    const marks = setPattern(property('nonspacing'));
    const character = /./gsu;
    steps.push((text, log) => {
      if (!log) return normalForm(text, 'NFD').replace(marks, '');
      return replaceCharacters(text, log, character, (one) => normalForm(one, 'NFD').replace(marks, ''));
    });
  }
  if (lower) steps.push(lowercased);
  return (text, log) => {
    let current = text;
    let source = log && Array.from({ length: text.length }, (_, i) => i);
    for (const step of steps) {
      const own: number[] | undefined = log && [];
      current = step(current, own);
      source = own?.map((i) => source?.[i] ?? 0);
    }
    for (const i of source ?? []) log!.push(i);
    return current;
  };
}
