// Makes a container with dockerode, which looks for the engine by itself: NAME IMAGE COMMAND...
const Docker = require('dockerode');
const [name, Image, ...Cmd] = process.argv.slice(2);

(async () => {
  const container = await new Docker().createContainer({ name, Image, Cmd });
  await container.start();
  const { StatusCode } = await container.wait();
  process.exit(StatusCode);
})().catch((err) => { console.error(err); process.exit(1); });
