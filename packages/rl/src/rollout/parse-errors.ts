import { boolean, custom, type Given, integer, number, options, type Read, text } from '@posttrain/interfaces';

const parseErrorOptions = options('parseErrors', {
  /** Replies in a row that may be unreadable, each told so; one more ends the episode. Default 0. */
  maxConsecutive: integer({ default: 0, min: 0 }),
  /** What a user says to such a reply; `{details}` is what was wrong. */
  message: text({ default: 'The previous message had a formatting issue.\nError: {details}' }),
  /** What such a reply costs. Default 0. */
  penalty: number({ default: 0, min: 0 }),
  /** What the reply is paid that ends the episode. Default 0. */
  terminalReward: number({ default: 0 }),
  /** Such replies are not trained. Default false. */
  maskReplies: boolean({ default: false }),
});
/** What becomes of replies that cannot be read. */
export type ParseErrorPolicy = Given<typeof parseErrorOptions>;

/** The option `parseErrors` of `multiTurn`. */
export const parseErrorsOption = custom<ParseErrorPolicy>()(
  'an object { maxConsecutive, message, penalty, terminalReward, maskReplies }',
  (value) => typeof value === 'object' && value !== null,
  { optional: true, settings: (value) => parseErrorOptions.settings(value) },
);

/** A policy with its defaults. @throws OptionError */
export const readParseErrors = (given: ParseErrorPolicy): Read<typeof parseErrorOptions> =>
  parseErrorOptions.read(given);

const MOST = 16_384;

/** What is said to a reply that could not be read. */
export const complaintOf = ({ message }: Read<typeof parseErrorOptions>, details: string): string =>
  message.replaceAll('{details}', () => details.slice(0, MOST));
