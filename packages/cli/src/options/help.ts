import { type OptionShape, showValue } from '@posttrain/interfaces';
import { kebabCase } from './names.js';

/** A part of the help: options under a heading. */
export interface HelpSection {
  readonly title: string;
  readonly shape: OptionShape;
  /** What the options say of themselves, by declared name. */
  readonly about: Readonly<Record<string, string>>;
}

const INDENT = '      ';

/** The options of a command: how each is typed, what it must be, its default and what it does, within `width` columns. */
export function optionsHelp(sections: readonly HelpSection[], width: number): string {
  return sections
    .map(({ title, shape, about }) => {
      const options = Object.entries(shape).map(([name, option]) => {
        const isSwitch = option.isValid(true) && option.isValid(false) && !option.isValid('text');
        const head = `  --${isSwitch && option.default === true ? 'no-' : ''}${kebabCase(name)}`;
        const must = isSwitch ? '' : `${option.expects}; `;
        const said = about[name] ?? '';
        const isSaid = /\bDefault\b/.test(said) || option.presence === 'optional';
        const state =
          option.presence === 'required' ? 'required' : isSaid ? '' : `default ${showValue(option.default)}`;
        const note = `${must}${state}`.replace(/; $/, '');
        return [head, ...wrapped([note, said].filter((part) => part !== '').join('. '), width)].join('\n');
      });
      return `${title}:\n\n${options.join('\n')}\n`;
    })
    .join('\n');
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && INDENT.length + line.length + 1 + word.length > width) {
      lines.push(INDENT + line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  if (line !== '') lines.push(INDENT + line);
  return lines;
}
