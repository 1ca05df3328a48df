import { onigurumaWordAlone } from '../unicode/unicode.js';
import type { Edge, Node } from './syntax.js';

const word = () => onigurumaWordAlone().toSource();

function edgeSource(edge: Edge): string {
  switch (edge) {
    case 'lineStart':
      // Behind a newline that ends the text no line begins.
      return '(?:(?<![^])|(?<=\\n)(?=[^]))';
    case 'lineEnd':
      return '(?=\\n|(?![^]))';
    case 'textStart':
      return '(?<![^])';
    case 'textEnd':
      return '(?![^])';
    case 'lastLineEnd':
      return '(?=\\n?(?![^]))';
    case 'wordEdge':
      return `(?:(?<=${word()})(?!${word()})|(?<!${word()})(?=${word()}))`;
    case 'noWordEdge':
      return `(?:(?<=${word()})(?=${word()})|(?<!${word()})(?!${word()}))`;
  }
}

/** The source of a RegExp with the flag `u`, its properties written out: those of the JavaScript engine change with it. */
export function toJavaScript(node: Node): string {
  let groups = 0;
  const write = (part: Node): string => {
    switch (part.kind) {
      case 'set':
        return part.set.toSource();
      case 'sequence':
        return part.items.map(write).join('');
      case 'choice':
        return `(?:${part.options.map(write).join('|')})`;
      case 'repeat': {
        const { min, max, mode } = part;
        const number = groups + 1;
        if (mode === 'possessive') groups++;
        const item = part.item.kind === 'set' ? write(part.item) : `(?:${write(part.item)})`;
        const source = `${item}{${min},${max === Infinity ? '' : max}}${mode === 'lazy' ? '?' : ''}`;
        return mode === 'possessive' ? `(?:(?=(${source}))\\${number})` : source;
      }
      case 'atomic': {
        const number = ++groups;
        return `(?:(?=(${write(part.item)}))\\${number})`;
      }
      case 'look':
        return `(?${part.behind ? '<' : ''}${part.negative ? '!' : '='}${write(part.item)})`;
      case 'edge':
        return edgeSource(part.edge);
    }
  };
  return write(node);
}
