import { nearestName, PosttrainError } from '../../packages/interfaces/src/index.js';
import { KINDS, type Kind, type KindName } from './kinds.js';

/** What cannot be laid out. Codes: UNKNOWN_KIND, BAD_NAME, FILE_EXISTS, BAD_ROW, BAD_TARGET. */
export class LayOutError extends PosttrainError {}

/** @throws LayOutError naming the nearest one */
export function kindOf(name: string): Kind {
  if (Object.hasOwn(KINDS, name)) return KINDS[name as KindName];
  const nearest = nearestName(name, Object.keys(KINDS));
  const hint = nearest ? ` Did you mean "${nearest}"?` : '';
  const all = Object.keys(KINDS).join(', ');
  throw new LayOutError('UNKNOWN_KIND', `there is no kind "${name}".${hint} The kinds are ${all}.`);
}

/** Words that cannot name a function. */
const RESERVED =
  /^(arguments|await|break|case|catch|class|const|continue|debugger|default|delete|do|else|enum|eval|export|extends|false|finally|for|function|if|implements|import|in|instanceof|interface|let|new|null|package|private|protected|public|return|static|super|switch|this|throw|true|try|typeof|undefined|var|void|while|with|yield)$/;

/** @throws LayOutError unless it is written as a file of this repository is, and can name a function */
export function checkName(name: string): void {
  const wrong = (why: string) => new LayOutError('BAD_NAME', `the name "${name}" ${why}.`);
  if (!/^[a-z][a-z0-9]*(-[a-z0-9]+)*$/.test(name)) {
    const written = name
      .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^[-0-9]+|-+$/g, '');
    throw wrong(`must be small letters and digits with "-" between words${written ? `, as "${written}"` : ''}`);
  }
  if (RESERVED.test(camel(name))) throw wrong('is a word of the language, so no function can have it');
  if (name === 'index') throw wrong('is that of the module which exports all others');
}

const pascal = (name: string): string =>
  name
    .split('-')
    .map((word) => word[0]!.toUpperCase() + word.slice(1))
    .join('');
/** `median-advantage` → `medianAdvantage`. */
export const camel = (name: string): string => name[0]! + pascal(name).slice(1);
/** `median-advantage` → `median_advantage`. */
export const snake = (name: string): string => name.replaceAll('-', '_');

/** A text of a template with the name in the place of `my-method`, as each place writes it. */
export const named = (text: string, name: string): string =>
  text
    .replaceAll('MY_METHOD', snake(name).toUpperCase())
    .replaceAll('my_method', snake(name))
    .replaceAll('my-method', name)
    .replaceAll('MyMethod', pascal(name))
    .replaceAll('myMethod', camel(name));
