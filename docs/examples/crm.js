// Beside the widget: your own server makes the token (POST /v1/tokens with your key), the browser never sees the key.
const panel = document.querySelector("nba-suggestions");
const log = document.querySelector("#log");

panel.tokenProvider = async () => {
  const answer = await fetch("token"); // an address of your own server
  return (await answer.json()).token;
};
panel.refresh();

for (const name of ["accepted", "declined", "spoken", "later", "skipped"]) {
  panel.addEventListener(`nba-${name}`, ({ detail }) => { log.textContent = `${name}: ${detail.offer_id}`; });
}
